//! Documents that a client signs with its own key: what a load daemon hands out as an authority of a service.

use crate::models::{RIGHT_KIND, RightToServe, TABLE_KIND, Table};
use crate::session::Client;
use terms::Problem;

impl Client {
    /// Signs a service's table. Clients accept it if the service certificate names this identity as an authority.
    pub fn sign_table(&self, table: &Table) -> Result<Vec<u8>, Problem> {
        Ok(trust::signed::sign_short(self.require_identity()?.key(), TABLE_KIND, table)?)
    }

    /// Signs a right to serve, under the same condition.
    pub fn sign_right(&self, right: &RightToServe) -> Result<Vec<u8>, Problem> {
        Ok(trust::signed::sign_short(self.require_identity()?.key(), RIGHT_KIND, right)?)
    }
}
