//! The way to the API server, from the configuration.

use std::path::Path;

use crate::config;
use crate::kube::kubeconfig;
use crate::kube::settings::{Error, SERVICE_ACCOUNT_DIRECTORY, Settings, Source};

/// The settings of the client: a kubeconfig where one is named, else those of the pod.
///
/// # Errors
/// When there is neither, or the kubeconfig cannot be used.
pub fn settings(config: &config::Kubernetes) -> Result<Settings, Error> {
    let mut settings = match &config.kubeconfig_path {
        Some(path) => kubeconfig::load(path)?,
        None => {
            let (host, port) = match &config.service {
                Some((host, port)) => (host.as_str(), port.to_string()),
                None => ("", String::new()),
            };
            Settings::in_cluster(host, &port, Path::new(SERVICE_ACCOUNT_DIRECTORY))?
        }
    };
    if let Some(path) = &config.ca_path {
        settings.ca = Some(Source::File(path.clone()));
    }
    settings.verify &= config.verify_tls;
    settings.request_timeout = config.request_timeout;
    settings.list_timeout = config.list_timeout;
    Ok(settings)
}
