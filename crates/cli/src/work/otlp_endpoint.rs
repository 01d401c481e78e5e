//! Where traces go: a flag, or the variables of OpenTelemetry.

use fetchline_worker::EXPORTS_TRACES;
use url::Url;

use crate::args::variable;
use crate::exit::Failure;

/// The URL that traces are exported to. Reads the standard variables as OpenTelemetry specifies.
pub(super) fn read(flag: Option<&str>) -> Result<Option<Url>, Failure> {
    if variable("OTEL_SDK_DISABLED")?.is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    {
        return Ok(None);
    }
    let with_path = |base: &str| {
        format!("{}/v1/traces", base.trim_end_matches('/').trim_end_matches("/v1/traces"))
    };
    let whole = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let base = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (of_traces, of_all) = (variable(whole)?, variable(base)?);
    let named = flag
        .filter(|url| !url.is_empty())
        .map(|url| ("--otlp-endpoint", with_path(url)))
        .or_else(|| of_traces.map(|url| (whole, url)))
        .or_else(|| of_all.map(|url| (base, with_path(&url))));
    let Some((name, text)) = named else { return Ok(None) };
    if name != "--otlp-endpoint" && !EXPORTS_TRACES {
        // Other programs read these variables, too. They are no request to this one.
        tracing::warn!("{name} is ignored: this program is built without traces");
        return Ok(None);
    }
    let url = Url::parse(&text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match url {
        Some(url) if url.username().is_empty() && url.password().is_none() => Ok(Some(url)),
        Some(_) => Err(Failure::usage(anyhow::anyhow!(
            "{name} contains credentials: put them into OTEL_EXPORTER_OTLP_HEADERS"
        ))),
        None => {
            Err(Failure::usage(anyhow::anyhow!("{name} is not a URL like http://collector:4318")))
        }
    }
}
