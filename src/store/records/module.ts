import type { Migrations } from '../sqlite/module.ts'

const first = `
CREATE TABLE domains (name TEXT PRIMARY KEY, created_ms INTEGER NOT NULL, bounce_host TEXT NOT NULL, active INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dkim_keys (id TEXT PRIMARY KEY, domain TEXT NOT NULL, selector TEXT NOT NULL, algorithm TEXT NOT NULL, private_key TEXT NOT NULL, public_key TEXT NOT NULL, created_ms INTEGER NOT NULL, active INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX dkim_keys_domain ON dkim_keys (domain);
CREATE TABLE credentials (id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL, name TEXT NOT NULL, allowed TEXT NOT NULL, rate_per_hour INTEGER NOT NULL, expires_ms INTEGER, default_tags TEXT NOT NULL, active INTEGER NOT NULL, created_ms INTEGER NOT NULL, last_used_ms INTEGER) WITHOUT ROWID;
CREATE TABLE tokens (id TEXT PRIMARY KEY, name TEXT NOT NULL, prefix TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, permissions TEXT NOT NULL, allowed TEXT NOT NULL, expires_ms INTEGER, active INTEGER NOT NULL, created_ms INTEGER NOT NULL, last_used_ms INTEGER) WITHOUT ROWID;
CREATE TABLE providers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, settings TEXT NOT NULL, priority INTEGER NOT NULL, weight INTEGER NOT NULL, fallback TEXT, active INTEGER NOT NULL, created_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE suppressions (address TEXT NOT NULL, scope TEXT NOT NULL, reason TEXT NOT NULL, class TEXT NOT NULL, smtp_code TEXT NOT NULL, detail TEXT NOT NULL, count INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, until_ms INTEGER, PRIMARY KEY (address, scope)) WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at_ms INTEGER NOT NULL, type TEXT NOT NULL, message_id TEXT, recipient_key INTEGER, recipient TEXT, provider TEXT, class TEXT, status TEXT, detail TEXT NOT NULL);
CREATE INDEX events_message ON events (message_id);
CREATE INDEX events_at ON events (at_ms);
CREATE INDEX events_type ON events (type, seq) WHERE type NOT IN ('queued', 'sent');
CREATE TABLE counters (name TEXT NOT NULL, period TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (name, period)) WITHOUT ROWID;
CREATE TABLE inbound_mail (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, received_ms INTEGER NOT NULL, kind TEXT NOT NULL, mail_from TEXT NOT NULL, rcpt_to TEXT NOT NULL, client_address TEXT NOT NULL, content BLOB, processed_ms INTEGER, result TEXT);
CREATE INDEX inbound_mail_waiting ON inbound_mail (seq) WHERE processed_ms IS NULL;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL, updated_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, client_address TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, before TEXT, after TEXT);
CREATE TABLE data_keys (id TEXT PRIMARY KEY, sealed TEXT NOT NULL, created_ms INTEGER NOT NULL, active INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE return_path_keys (id INTEGER PRIMARY KEY, sealed TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER);
`

// The narrower index could serve no query that takes the type as a value.
const second = `
DROP INDEX events_type;
CREATE INDEX events_type ON events (type, seq);
`

// Keys change over: the next one is published before it signs, the last one stays published after.
const third = `
ALTER TABLE dkim_keys ADD COLUMN state TEXT NOT NULL DEFAULT 'signing';
ALTER TABLE dkim_keys ADD COLUMN signs_from_ms INTEGER;
ALTER TABLE dkim_keys ADD COLUMN signed_until_ms INTEGER;
ALTER TABLE dkim_keys DROP COLUMN active;
`

const tls = `
CREATE TABLE mta_sts (domain TEXT PRIMARY KEY, id TEXT NOT NULL, policy TEXT NOT NULL, fetched_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tls_results (day TEXT NOT NULL, domain TEXT NOT NULL, policy_type TEXT NOT NULL, result TEXT NOT NULL, sending_ip TEXT NOT NULL, mx_host TEXT NOT NULL, mx_address TEXT NOT NULL, reason TEXT NOT NULL, policy TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (day, domain, policy_type, result, sending_ip, mx_host, mx_address, reason)) WITHOUT ROWID;
CREATE INDEX tls_results_domain ON tls_results (domain, day);
`

const migrations: Migrations = [first, second, third, tls]

/** The tables of records/schema.ts, always part of the store. */
export const recordsWorker = {
  name: 'records',
  url: new URL('./worker.ts', import.meta.url),
  migrations,
  startReads: ['records.read'],
}
