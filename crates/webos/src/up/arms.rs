//! What a surge is made of: smart clients of the service, each with a director of its own, and the site's files.

use super::limits::SURGE_PATIENCE;
use super::site::Site;
use super::supervisor::{Armed, Arms};
use super::surge::{Fetch, choose};
use client::Client;
use discovery::smart::{FetchEvent, FileStream, SmartClient};
use futures_util::future::{BoxFuture, try_join_all};
use std::sync::Arc;
use terms::{Problem, ServiceName, VolumePath};

/// One smart client that throws away what it reads.
struct Reader(SmartClient);

impl Fetch for Reader {
    fn fetch<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<u64, Problem>> {
        Box::pin(async move {
            let mut ignore = |_: FetchEvent| {};
            let mut stream = FileStream::open(&self.0, path, SURGE_PATIENCE, &mut ignore).await?;
            let mut read = 0;
            while let Some(block) = stream.next(&mut ignore).await? {
                read += block.len() as u64;
            }
            Ok(read)
        })
    }
}

/// Arms surges at this service, as this client.
pub fn arms(client: &Client, site: &Site, service: &ServiceName) -> Arms {
    let (client, site, service) = (client.clone(), site.clone(), service.clone());
    Box::new(move |clients| {
        let (client, site, service) = (client.clone(), site.clone(), service.clone());
        Box::pin(async move { arm(&client, &site, &service, clients).await })
    })
}

async fn arm(client: &Client, site: &Site, service: &ServiceName, clients: u32) -> Result<Armed, Problem> {
    let files = choose(site.sizes().await?);
    let open = || {
        let (pool, trust) = (client.pool().clone(), client.trust().clone());
        SmartClient::open(client.world(), pool, trust, service.clone(), None)
    };
    let readers = try_join_all((0..clients).map(|_| open())).await?;
    let readers = readers.into_iter().map(|reader| Arc::new(Reader(reader)) as Arc<dyn Fetch>);
    Ok((readers.collect(), files))
}
