//! Who this instance is and where it listens, by environment.

use std::env;
use std::net::{IpAddr, SocketAddr};

pub struct Identity {
    pub version: String,
    pub instance: String,
}

impl Identity {
    pub fn from_env() -> Self {
        let built = option_env!("VERSION").unwrap_or("v1");
        let version = first(&["VERSION", "BATON_VERSION"]).unwrap_or_else(|| built.to_owned());
        let instance =
            first(&["INSTANCE", "BATON_INSTANCE"]).unwrap_or_else(|| format!("{version}-{}", std::process::id()));
        Self { version, instance }
    }
}

pub fn address_from_env() -> Result<SocketAddr, String> {
    let host = first(&["HOST"]).unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = first(&["PORT"]).unwrap_or_else(|| "8080".to_owned());
    let ip: IpAddr = host.parse().map_err(|_| format!("HOST must be an IP address, not \"{host}\""))?;
    let port: u16 = port.parse().map_err(|_| format!("PORT must be a number from 0 to 65535, not \"{port}\""))?;
    Ok(SocketAddr::new(ip, port))
}

fn first(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok()).filter(|value| !value.is_empty())
}
