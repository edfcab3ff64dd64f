-- What the dashboard of the demo shows. Ids and times are the database's, so that an edit by hand needs neither. It may run again: only tables that
-- are empty get rows.
PRAGMA journal_mode = WAL;

CREATE TABLE IF NOT EXISTS context_rules (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  instruction TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 10,
  enabled BOOLEAN NOT NULL DEFAULT 1
);

CREATE TABLE IF NOT EXISTS chat_sessions (
  id INTEGER PRIMARY KEY,
  visitor TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'open', 'closed')),
  operator TEXT,
  topic TEXT NOT NULL DEFAULT '',
  started_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS notifications (
  id INTEGER PRIMARY KEY,
  user_id TEXT NOT NULL DEFAULT 'demo:operator:Olivia',
  title TEXT NOT NULL,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

INSERT INTO context_rules (id, name, instruction, priority, enabled)
SELECT * FROM (VALUES
  (1, 'refunds', 'Refunds within 30 days go through without asking a manager.', 30, 1),
  (2, 'tone', 'Short sentences, no jargon, and never blame the customer.', 20, 1),
  (3, 'holidays', 'Over the holidays, promise an answer within two working days.', 10, 0)
) WHERE NOT EXISTS (SELECT 1 FROM context_rules);

INSERT INTO chat_sessions (id, visitor, state, operator, topic)
SELECT * FROM (VALUES
  (1, 'Noor', 'open', 'Olivia', 'Where is my parcel?'),
  (2, 'Mateo', 'waiting', NULL, 'The invoice has the old address'),
  (3, 'Yuki', 'closed', 'Olivia', 'Password reset')
) WHERE NOT EXISTS (SELECT 1 FROM chat_sessions);

INSERT INTO notifications (id, title)
SELECT * FROM (VALUES
  (1, 'Welcome to the dashboard, Olivia'),
  (2, 'Mateo has been waiting for four minutes')
) WHERE NOT EXISTS (SELECT 1 FROM notifications);
