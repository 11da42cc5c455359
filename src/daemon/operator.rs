//! What the command line of the pod sees of the running process: status, health, settings.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use crossbeam_channel::Sender;

use super::external_metrics;
use super::hostname::{self, Hostname};
use super::signals::Reason;
use super::watches::Reached;
use crate::checks::assignment::{Counts, Warmth};
use crate::config::{self, ChangeError, Config, LogLevel, Settings, Sources};
use crate::flare::{self, Document};
use crate::health::{Probe, Registry, Report};
use crate::kube::status::{Activity, Snapshot};
use crate::logging;
use crate::node_api::{self, Format, Operator, Role, RuntimeSetting, Setting, SettingError};
use crate::status;
use crate::sync::Published;

/// What the documents are made from.
pub struct Facts {
    /// The checked configuration.
    pub config: Arc<Config>,
    /// Every key with its sources; changed by `config set`.
    pub settings: Mutex<Settings>,
    /// Components and their state.
    pub health: Registry,
    /// The replica's name, once it is known.
    pub hostname: Published<Hostname>,
    /// The API server's address, or why there is none.
    pub server: Result<String, String>,
    /// What the watches have reached, once they were started.
    pub watches: Published<Reached>,
    /// The election's record as the status page shows it.
    pub leader_election: Box<dyn Fn() -> status::LeaderElection + Send + Sync>,
    /// Whether this replica leads.
    pub leadership: Arc<dyn node_api::Leadership>,
    /// Numbers about the cluster checks; `None` while they are off.
    pub checks: Option<Arc<Published<Counts>>>,
    /// What is sent to Datadog, once it is.
    pub outbound: Published<Option<super::outbound::Facts>>,
    /// What the external metrics have reached; `None` while they are off.
    pub external_metrics: Published<Option<external_metrics::Facts>>,
    /// When the process started.
    pub started: SystemTime,
    /// Asks the process to end.
    pub ending: Sender<Reason>,
    /// Held while a flare is made.
    pub flare_turn: Mutex<()>,
}

/// The stack of the thread that makes a flare: that of any thread of the standard library, for a second or two.
const FLARE_STACK: usize = 2 << 20;

impl Facts {
    fn inputs(&self) -> status::Inputs {
        let config = &self.config;
        let path = |path: &std::path::Path| path.display().to_string();
        status::Inputs {
            now: SystemTime::now(),
            header: status::Header {
                started: self.started,
                pid: std::process::id(),
                log_file: config.logging.file.as_deref().map(path).unwrap_or_default(),
                log_level: logging::level().as_str().to_owned(),
                configuration_file: config.file.as_deref().map(path).unwrap_or_default(),
                extra_configuration_files: Vec::new(),
                confd_path: path(&config.autodiscovery.confd_path),
                checksd_path: String::new(),
            },
            hostname: self.names(),
            kubernetes: status::Kubernetes {
                server: self.server.clone().unwrap_or_default(),
                error: self.server.clone().err(),
                resources: self.watches.get().snapshots().into_iter().map(resource).collect(),
            },
            leader_election: (self.leader_election)(),
            cluster_checks: self
                .checks
                .as_ref()
                .map(|counts| checks(&counts.get(), self.leadership.role())),
            delivery: self.outbound.get().as_ref().as_ref().map(super::outbound::Facts::delivery),
            custom_metrics: self
                .external_metrics
                .get()
                .as_ref()
                .as_ref()
                .map(external_metrics::Facts::collect),
            proxy: status::Proxy {
                http: config.proxy.http.as_ref().map(ToString::to_string),
                https: config.proxy.https.as_ref().map(ToString::to_string),
                no_proxy: config.proxy.no_proxy.clone(),
            },
            errors: Vec::new(),
        }
    }

    fn names(&self) -> status::Hostname {
        let hostname = self.hostname.get();
        let system = hostname::system().unwrap_or_default();
        let cluster = self.config.cluster_name.as_ref().map_or("", |name| name.as_str()).to_owned();
        status::Hostname {
            names: BTreeMap::from([
                ("hostname".to_owned(), hostname.name.clone()),
                ("cluster-name".to_owned(), cluster),
                ("socket-hostname".to_owned(), system.clone()),
                ("socket-fqdn".to_owned(), system),
            ]),
            provider: hostname.provider.to_owned(),
            failed: hostname.failed.clone(),
        }
    }

    /// Adds what this process knows of itself to `documents` and hands all of it to `finish`, on a thread of its own:
    /// reading YAML and compressing take more stack than a connection has. One archive at a time bounds the memory.
    fn make_flare<T: Send>(
        &self,
        documents: Vec<Document>,
        finish: impl FnOnce(&flare::Making<'_>) -> Result<T, String> + Send,
    ) -> Result<T, String> {
        let Ok(_turn) = self.flare_turn.try_lock() else {
            return Err("another flare is being made, try again when it is complete".to_owned());
        };
        thread::scope(|scope| {
            let builder = thread::Builder::new().name("flare".to_owned()).stack_size(FLARE_STACK);
            let thread = builder
                .spawn_scoped(scope, || self.collect_flare(documents, finish))
                .map_err(|error| format!("no thread for the flare: {error}"))?;
            thread.join().unwrap_or_else(|_| Err("making the flare failed, see the log".to_owned()))
        })
    }

    fn collect_flare<T>(
        &self,
        mut documents: Vec<Document>,
        finish: impl FnOnce(&flare::Making<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut add = |name, text| documents.push(Document { name, text });
        add("cluster-agent-status.log", self.status(Format::Text, true));
        add("runtime_config_dump.yaml", Ok(self.configuration()));
        if self.config.external_metrics.enabled {
            let section = self.status_section("custom metrics server", Format::Text);
            add("custommetricsprovider.log", section);
        }
        let hostname = self.hostname.get();
        finish(&flare::Making {
            config: &self.config,
            environment: &Sources::of_process(None).environment,
            hostname: &hostname.name,
            documents,
            local: false,
            now: SystemTime::now(),
        })
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operator for Facts {
    fn hostname(&self) -> String {
        self.hostname.get().name.clone()
    }

    fn status(&self, format: Format, _verbose: bool) -> Result<String, String> {
        let inputs = self.inputs();
        Ok(match format {
            Format::Text => status::text(&inputs),
            Format::Json => status::json(&inputs).to_string(),
        })
    }

    fn status_sections(&self) -> Vec<String> {
        status::section_names(&self.inputs())
    }

    fn status_section(&self, name: &str, format: Format) -> Result<String, String> {
        status::section(&self.inputs(), name, format).map_err(|unknown| unknown.to_string())
    }

    fn obstacle(&self) -> Option<String> {
        if let Err(reason) = &self.server {
            return Some(reason.clone());
        }
        let watches = self.watches.get().snapshots();
        watches.into_iter().filter(|watch| !watch.synced).find_map(|watch| resource(watch).error)
    }

    fn health(&self) -> Report {
        self.health.report(Probe::Ready, Instant::now())
    }

    fn configuration(&self) -> String {
        self.settings().dump()
    }

    fn runtime_settings(&self) -> Vec<RuntimeSetting> {
        let settings = config::RUNTIME_SETTINGS.iter();
        settings.map(|(name, description)| RuntimeSetting { name, description }).collect()
    }

    fn setting(&self, name: &str) -> Option<Setting> {
        let settings = self.settings();
        let setting = settings.get(name)?;
        let sources = setting.layers.iter().rev();
        Some(Setting {
            value: setting.value().shown(),
            sources: sources.map(|(source, value)| (source.to_string(), value.shown())).collect(),
        })
    }

    fn set_setting(&self, name: &str, value: &str) -> Result<(), SettingError> {
        self.settings().change(name, value).map_err(|error| match error {
            ChangeError::NotFound(_) => SettingError::Unknown,
            invalid @ ChangeError::Invalid { .. } => SettingError::Invalid(invalid.to_string()),
        })?;
        // The level is the only setting of that kind, and the table knows its values.
        if let Some(level) = LogLevel::parse(value) {
            logging::set_level(level);
            log::info!("the log level is now {}", level.as_str());
        }
        Ok(())
    }

    fn flare(&self, documents: Vec<Document>) -> Result<String, String> {
        self.make_flare(documents, |making| Ok(flare::file(making)?.display().to_string()))
    }

    fn flare_bytes(&self, documents: Vec<Document>) -> Result<Vec<u8>, String> {
        self.make_flare(documents, flare::bytes)
    }

    fn stop(&self) {
        // A full channel means that the process was asked to end already.
        let _ = self.ending.try_send(Reason::Request);
    }
}

fn checks(counts: &Counts, role: Role) -> status::ClusterChecks {
    let role = match role {
        Role::Unknown => status::ChecksRole::Unknown,
        Role::Follower(leader) => status::ChecksRole::Follower { leader },
        Role::Leader => {
            status::ChecksRole::Leader { warming_up: counts.leading != Some(Warmth::Active) }
        }
    };
    status::ClusterChecks {
        role,
        nodes: counts.dispatched.len(),
        dispatched: counts.dispatched.iter().map(|(_, number)| number).sum(),
        dangling: counts.dangling,
        names: counts.names.clone(),
    }
}

fn resource(watch: Snapshot) -> status::Resource {
    let failing =
        matches!(watch.activity, Activity::Failing | Activity::Forbidden | Activity::Missing);
    let error =
        watch.last_failure.filter(|_| failing || !watch.synced).map(|failure| {
            match failure.remedy {
                Some(remedy) => format!("{}; {remedy}", failure.text),
                None => failure.text,
            }
        });
    status::Resource {
        name: watch.resource,
        synced: watch.synced,
        objects: usize::try_from(watch.objects).unwrap_or(usize::MAX),
        listed: watch.last_list,
        heard: watch.last_heard,
        version: watch.version,
        error,
    }
}
