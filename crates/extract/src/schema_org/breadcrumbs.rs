//! The category of a product by the breadcrumbs of its page.

use super::{graph::Graph, page_identity::PageIdentity};
use crate::finding;

/// Breadcrumbs of a page that are read.
const MAX_CRUMBS: usize = 20;

/// Returns the last breadcrumb that is neither the home page nor the page itself. The page itself
/// is recognised by its link or by the `name` of its product.
pub(crate) fn category(
    graph: &Graph,
    name: Option<&str>,
    page: &PageIdentity<'_>,
) -> Option<String> {
    let list = graph.nodes().find(|&node| graph.is_a(node, &["BreadcrumbList"]))?;
    let mut crumbs: Vec<usize> = graph.children(list, "itemListElement").take(MAX_CRUMBS).collect();
    let position = |crumb: usize| {
        graph.text(crumb, &["position"]).and_then(|text| text.trim().parse::<u32>().ok())
    };
    crumbs.sort_by_key(|&crumb| position(crumb));
    let name = name.map(str::to_lowercase);
    crumbs.into_iter().rev().find_map(|crumb| {
        let name_of_target =
            || graph.children(crumb, "item").find_map(|target| graph.text(target, &["name"]));
        let category = graph.text(crumb, &["name"]).or_else(name_of_target)?;
        let category = finding::clean_category(category)?;
        let link = link(graph, crumb);
        let is_home =
            link.is_some_and(|link| page.address.join(link).is_ok_and(|url| url.path() == "/"));
        let is_page = link.is_some_and(|link| page.is_linked_by(link))
            || name.as_ref() == Some(&category.to_lowercase());
        (!is_home && !is_page).then_some(category)
    })
}

fn link(graph: &Graph, crumb: usize) -> Option<&str> {
    let link_of = |target: usize| graph.id(target).or_else(|| graph.text_or_id(target, "url"));
    let target = graph.children(crumb, "item").find_map(link_of);
    target.or_else(|| graph.text_or_id(crumb, "item")).or_else(|| graph.text_or_id(crumb, "url"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema_org::json_ld;

    #[test]
    fn the_category_is_the_last_breadcrumb_that_is_not_the_page() {
        let address = "https://shop.example/p/1".parse().unwrap();
        let page = PageIdentity {
            address: &address,
            canonical: None,
            titles: Vec::new(),
            is_article: false,
        };
        for (crumbs, expected) in [
            (
                r#"{"position":2,"name":"Tea"},{"position":1,"name":"All","item":"/all"}"#,
                Some("Tea"),
            ),
            (
                r#"{"position":1,"name":"Home","item":"/"},
                    {"position":2,"name":"Tea","item":"/c/tea"}"#,
                Some("Tea"),
            ),
            (
                r#"{"position":3,"name":"Sencha"},{"position":1,"name":"Home","item":"/"},
                    {"position":2,"name":"Tea"}"#,
                Some("Tea"),
            ),
            (
                r#"{"position":1,"name":"Tea","item":"/c"},
                    {"position":2,"name":"Other name","item":"/p/1"}"#,
                Some("Tea"),
            ),
            (
                r#"{"position":1,"item":{"@id":"/c","name":"Tea"}},
                    {"position":2,"item":{"@id":"/p/1","name":"X"}}"#,
                Some("Tea"),
            ),
            (
                r#"{"position":1,"name":"Home","item":"https://shop.example"},
                    {"position":2,"name":"SENCHA"}"#,
                None,
            ),
            (r#"{"position":1,"item":"/c/tea"}"#, None),
            ("", None),
            (
                &(r#"{"name":"Tea","item":"/c"},"#.to_owned() + &r#"{"item":"/"},"#.repeat(20)),
                Some("Tea"),
            ),
            (&(r#"{"item":"/"},"#.repeat(20) + r#"{"name":"Tea","item":"/c"}"#), None),
        ] {
            let block = format!(r#"{{"@type":"BreadcrumbList","itemListElement":[{crumbs}]}}"#);
            let mut graph = Graph::default();
            json_ld::add_block(&block, &mut graph);
            let category = category(&graph, Some("Sencha"), &page);
            assert_eq!(category.as_deref(), expected, "{crumbs}");
        }
    }
}
