import type { Migrations } from '#store'

// State numbers are those of states.ts: 0 scheduled, 1 ready, 2 leased, 3 deferred, 4 held, 5 sent, 6 bounced …
const first = `
CREATE TABLE messages (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  accepted_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  reverse_path TEXT NOT NULL,
  sending_domain TEXT NOT NULL,
  header_from TEXT NOT NULL,
  message_id_header TEXT NOT NULL,
  subject TEXT NOT NULL,
  priority INTEGER NOT NULL,
  sandbox INTEGER NOT NULL,
  smtp_utf8 INTEGER NOT NULL,
  envelope_id TEXT,
  ret TEXT,
  submitter TEXT NOT NULL,
  tags TEXT NOT NULL,
  metadata TEXT NOT NULL,
  category TEXT,
  campaign TEXT,
  route TEXT,
  size INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  row_checksum INTEGER NOT NULL,
  segment INTEGER,
  segment_offset INTEGER,
  has_content INTEGER NOT NULL,
  open_recipients INTEGER NOT NULL,
  settled_ms INTEGER
);
CREATE INDEX messages_settled ON messages (settled_ms) WHERE settled_ms IS NOT NULL;
CREATE INDEX messages_segment ON messages (segment) WHERE segment IS NOT NULL AND has_content = 1;
CREATE TABLE bodies (message INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE recipients (
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  message INTEGER NOT NULL REFERENCES messages (key),
  address TEXT NOT NULL,
  domain TEXT NOT NULL,
  original_recipient TEXT,
  notify TEXT,
  row_checksum INTEGER NOT NULL,
  state INTEGER NOT NULL,
  reason TEXT NOT NULL,
  due_ms INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  uncertain INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  maybe_duplicate INTEGER NOT NULL DEFAULT 0,
  fence INTEGER NOT NULL DEFAULT 0,
  lease_owner TEXT,
  lease_until_ms INTEGER,
  settled_ms INTEGER
);
CREATE INDEX recipients_message ON recipients (message);
CREATE INDEX recipients_address ON recipients (address, key);
CREATE INDEX recipients_domain ON recipients (domain, key);
CREATE INDEX recipients_state ON recipients (state, key);
CREATE TABLE attempts (
  recipient INTEGER NOT NULL,
  n INTEGER NOT NULL,
  started_ms REAL NOT NULL,
  ended_ms REAL NOT NULL,
  provider TEXT NOT NULL,
  source TEXT NOT NULL,
  remote_host TEXT NOT NULL,
  remote_address TEXT NOT NULL,
  tls TEXT NOT NULL,
  stage TEXT NOT NULL,
  reply_code INTEGER,
  enhanced TEXT,
  reply TEXT NOT NULL,
  class TEXT NOT NULL,
  transcript TEXT,
  PRIMARY KEY (recipient, n)
) WITHOUT ROWID;
CREATE TABLE idempotency (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  message_id TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at_ms);
CREATE TABLE segments (
  id INTEGER PRIMARY KEY,
  bytes INTEGER NOT NULL,
  live_bytes INTEGER NOT NULL,
  live_count INTEGER NOT NULL,
  closed INTEGER NOT NULL
);
CREATE TABLE queue_counts (state INTEGER PRIMARY KEY, n INTEGER NOT NULL);
INSERT INTO queue_counts VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0);
`

/** What a message asks of the transport (RFC 8689): `required`, `optional`, or nothing. */
const second = 'ALTER TABLE messages ADD COLUMN tls TEXT'

// Rows written before keep the checksum they have; each takes the wider one when it moves.
const third = `
ALTER TABLE messages ADD COLUMN checksum_form INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recipients ADD COLUMN checksum_form INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recipients ADD COLUMN lone_crashes INTEGER NOT NULL DEFAULT 0;
`

export const migrations: Migrations = [first, second, third]
