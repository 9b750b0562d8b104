pragma foreign_keys = off;
BEGIN TRANSACTION;
CREATE TABLE copies_loop (n bigint, who text);
INSERT INTO "copies_loop" VALUES(1,'old');
INSERT INTO "copies_loop" VALUES(2,'old');
INSERT INTO "copies_loop" VALUES(3,'old');
INSERT INTO "copies_loop" VALUES(4,'old');
INSERT INTO "copies_loop" VALUES(5,'old');
INSERT INTO "copies_loop" VALUES(6,'old');
INSERT INTO "copies_loop" VALUES(8,'old');
INSERT INTO "copies_loop" VALUES(9,'old');
INSERT INTO "copies_loop" VALUES(10,'old');
INSERT INTO "copies_loop" VALUES(11,'old');
INSERT INTO "copies_loop" VALUES(12,'old');
INSERT INTO "copies_loop" VALUES(13,'old');
INSERT INTO "copies_loop" VALUES(14,'old');
INSERT INTO "copies_loop" VALUES(15,'old');
INSERT INTO "copies_loop" VALUES(16,'old');
INSERT INTO "copies_loop" VALUES(18,'old');
INSERT INTO "copies_loop" VALUES(19,'old');
INSERT INTO "copies_loop" VALUES(20,'old');
INSERT INTO "copies_loop" VALUES(21,'old');
INSERT INTO "copies_loop" VALUES(22,'old');
INSERT INTO "copies_loop" VALUES(23,'old');
INSERT INTO "copies_loop" VALUES(24,'old');
INSERT INTO "copies_loop" VALUES(25,'old');
INSERT INTO "copies_loop" VALUES(26,'old');
INSERT INTO "copies_loop" VALUES(28,'old');
INSERT INTO "copies_loop" VALUES(29,'old');
INSERT INTO "copies_loop" VALUES(30,'old');
INSERT INTO "copies_loop" VALUES(31,'old');
INSERT INTO "copies_loop" VALUES(32,'old');
INSERT INTO "copies_loop" VALUES(33,'old');
INSERT INTO "copies_loop" VALUES(34,'old');
INSERT INTO "copies_loop" VALUES(35,'old');
INSERT INTO "copies_loop" VALUES(36,'old');
INSERT INTO "copies_loop" VALUES(38,'old');
INSERT INTO "copies_loop" VALUES(39,'old');
INSERT INTO "copies_loop" VALUES(40,'old');
INSERT INTO "copies_loop" VALUES(41,'old');
INSERT INTO "copies_loop" VALUES(42,'old');
INSERT INTO "copies_loop" VALUES(43,'old');
INSERT INTO "copies_loop" VALUES(44,'old');
INSERT INTO "copies_loop" VALUES(45,'old');
INSERT INTO "copies_loop" VALUES(46,'old');
INSERT INTO "copies_loop" VALUES(48,'old');
INSERT INTO "copies_loop" VALUES(49,'old');
INSERT INTO "copies_loop" VALUES(50,'old');
INSERT INTO "copies_loop" VALUES(51,'old');
INSERT INTO "copies_loop" VALUES(52,'old');
INSERT INTO "copies_loop" VALUES(53,'old');
INSERT INTO "copies_loop" VALUES(54,'old');
INSERT INTO "copies_loop" VALUES(55,'old');
INSERT INTO "copies_loop" VALUES(56,'old');
INSERT INTO "copies_loop" VALUES(58,'old');
INSERT INTO "copies_loop" VALUES(59,'old');
INSERT INTO "copies_loop" VALUES(60,'old');
INSERT INTO "copies_loop" VALUES(61,'old');
INSERT INTO "copies_loop" VALUES(62,'old');
INSERT INTO "copies_loop" VALUES(63,'old');
INSERT INTO "copies_loop" VALUES(64,'old');
INSERT INTO "copies_loop" VALUES(65,'old');
INSERT INTO "copies_loop" VALUES(66,'old');
INSERT INTO "copies_loop" VALUES(68,'old');
INSERT INTO "copies_loop" VALUES(69,'old');
INSERT INTO "copies_loop" VALUES(70,'old');
INSERT INTO "copies_loop" VALUES(71,'old');
INSERT INTO "copies_loop" VALUES(72,'old');
INSERT INTO "copies_loop" VALUES(73,'old');
INSERT INTO "copies_loop" VALUES(74,'old');
INSERT INTO "copies_loop" VALUES(75,'old');
INSERT INTO "copies_loop" VALUES(76,'old');
INSERT INTO "copies_loop" VALUES(78,'old');
INSERT INTO "copies_loop" VALUES(79,'old');
INSERT INTO "copies_loop" VALUES(80,'old');
INSERT INTO "copies_loop" VALUES(81,'old');
INSERT INTO "copies_loop" VALUES(82,'old');
INSERT INTO "copies_loop" VALUES(83,'old');
INSERT INTO "copies_loop" VALUES(84,'old');
INSERT INTO "copies_loop" VALUES(85,'old');
INSERT INTO "copies_loop" VALUES(86,'old');
INSERT INTO "copies_loop" VALUES(88,'old');
INSERT INTO "copies_loop" VALUES(89,'old');
INSERT INTO "copies_loop" VALUES(90,'old');
INSERT INTO "copies_loop" VALUES(91,'old');
INSERT INTO "copies_loop" VALUES(92,'old');
INSERT INTO "copies_loop" VALUES(93,'old');
INSERT INTO "copies_loop" VALUES(94,'old');
INSERT INTO "copies_loop" VALUES(95,'old');
INSERT INTO "copies_loop" VALUES(96,'old');
INSERT INTO "copies_loop" VALUES(98,'old');
INSERT INTO "copies_loop" VALUES(99,'old');
INSERT INTO "copies_loop" VALUES(100,'old');
INSERT INTO "copies_loop" VALUES(101,'old');
INSERT INTO "copies_loop" VALUES(102,'old');
INSERT INTO "copies_loop" VALUES(103,'old');
INSERT INTO "copies_loop" VALUES(104,'old');
INSERT INTO "copies_loop" VALUES(105,'old');
INSERT INTO "copies_loop" VALUES(106,'old');
INSERT INTO "copies_loop" VALUES(108,'old');
INSERT INTO "copies_loop" VALUES(109,'old');
INSERT INTO "copies_loop" VALUES(110,'old');
INSERT INTO "copies_loop" VALUES(111,'old');
INSERT INTO "copies_loop" VALUES(112,'old');
INSERT INTO "copies_loop" VALUES(113,'old');
INSERT INTO "copies_loop" VALUES(114,'old');
INSERT INTO "copies_loop" VALUES(115,'old');
INSERT INTO "copies_loop" VALUES(116,'old');
INSERT INTO "copies_loop" VALUES(118,'old');
INSERT INTO "copies_loop" VALUES(119,'old');
INSERT INTO "copies_loop" VALUES(120,'old');
INSERT INTO "copies_loop" VALUES(121,'old');
INSERT INTO "copies_loop" VALUES(122,'old');
INSERT INTO "copies_loop" VALUES(123,'old');
INSERT INTO "copies_loop" VALUES(124,'old');
INSERT INTO "copies_loop" VALUES(125,'old');
INSERT INTO "copies_loop" VALUES(126,'old');
INSERT INTO "copies_loop" VALUES(128,'old');
INSERT INTO "copies_loop" VALUES(129,'old');
INSERT INTO "copies_loop" VALUES(130,'old');
CREATE TABLE copies_queue (n bigint, who text);
INSERT INTO "copies_queue" VALUES(1,'old');
INSERT INTO "copies_queue" VALUES(2,'old');
INSERT INTO "copies_queue" VALUES(3,'old');
INSERT INTO "copies_queue" VALUES(4,'old');
INSERT INTO "copies_queue" VALUES(5,'old');
INSERT INTO "copies_queue" VALUES(6,'old');
INSERT INTO "copies_queue" VALUES(8,'old');
INSERT INTO "copies_queue" VALUES(9,'old');
INSERT INTO "copies_queue" VALUES(10,'old');
INSERT INTO "copies_queue" VALUES(11,'old');
INSERT INTO "copies_queue" VALUES(12,'old');
INSERT INTO "copies_queue" VALUES(13,'old');
INSERT INTO "copies_queue" VALUES(14,'old');
INSERT INTO "copies_queue" VALUES(15,'old');
INSERT INTO "copies_queue" VALUES(16,'old');
INSERT INTO "copies_queue" VALUES(18,'old');
INSERT INTO "copies_queue" VALUES(19,'old');
INSERT INTO "copies_queue" VALUES(20,'old');
INSERT INTO "copies_queue" VALUES(21,'old');
INSERT INTO "copies_queue" VALUES(22,'old');
INSERT INTO "copies_queue" VALUES(23,'old');
INSERT INTO "copies_queue" VALUES(24,'old');
INSERT INTO "copies_queue" VALUES(25,'old');
INSERT INTO "copies_queue" VALUES(26,'old');
INSERT INTO "copies_queue" VALUES(28,'old');
INSERT INTO "copies_queue" VALUES(29,'old');
INSERT INTO "copies_queue" VALUES(30,'old');
INSERT INTO "copies_queue" VALUES(31,'old');
INSERT INTO "copies_queue" VALUES(32,'old');
INSERT INTO "copies_queue" VALUES(33,'old');
INSERT INTO "copies_queue" VALUES(34,'old');
INSERT INTO "copies_queue" VALUES(35,'old');
INSERT INTO "copies_queue" VALUES(36,'old');
INSERT INTO "copies_queue" VALUES(38,'old');
INSERT INTO "copies_queue" VALUES(39,'old');
INSERT INTO "copies_queue" VALUES(40,'old');
INSERT INTO "copies_queue" VALUES(41,'old');
INSERT INTO "copies_queue" VALUES(42,'old');
INSERT INTO "copies_queue" VALUES(43,'old');
INSERT INTO "copies_queue" VALUES(44,'old');
INSERT INTO "copies_queue" VALUES(45,'old');
INSERT INTO "copies_queue" VALUES(46,'old');
INSERT INTO "copies_queue" VALUES(48,'old');
INSERT INTO "copies_queue" VALUES(49,'old');
INSERT INTO "copies_queue" VALUES(50,'old');
INSERT INTO "copies_queue" VALUES(51,'old');
INSERT INTO "copies_queue" VALUES(52,'old');
INSERT INTO "copies_queue" VALUES(53,'old');
INSERT INTO "copies_queue" VALUES(54,'old');
INSERT INTO "copies_queue" VALUES(55,'old');
INSERT INTO "copies_queue" VALUES(56,'old');
INSERT INTO "copies_queue" VALUES(58,'old');
INSERT INTO "copies_queue" VALUES(59,'old');
INSERT INTO "copies_queue" VALUES(60,'old');
INSERT INTO "copies_queue" VALUES(61,'old');
INSERT INTO "copies_queue" VALUES(62,'old');
INSERT INTO "copies_queue" VALUES(63,'old');
INSERT INTO "copies_queue" VALUES(64,'old');
INSERT INTO "copies_queue" VALUES(65,'old');
INSERT INTO "copies_queue" VALUES(66,'old');
INSERT INTO "copies_queue" VALUES(68,'old');
INSERT INTO "copies_queue" VALUES(69,'old');
INSERT INTO "copies_queue" VALUES(70,'old');
INSERT INTO "copies_queue" VALUES(71,'old');
INSERT INTO "copies_queue" VALUES(72,'old');
INSERT INTO "copies_queue" VALUES(73,'old');
INSERT INTO "copies_queue" VALUES(74,'old');
INSERT INTO "copies_queue" VALUES(75,'old');
INSERT INTO "copies_queue" VALUES(76,'old');
INSERT INTO "copies_queue" VALUES(78,'old');
INSERT INTO "copies_queue" VALUES(79,'old');
INSERT INTO "copies_queue" VALUES(80,'old');
INSERT INTO "copies_queue" VALUES(81,'old');
INSERT INTO "copies_queue" VALUES(82,'old');
INSERT INTO "copies_queue" VALUES(83,'old');
INSERT INTO "copies_queue" VALUES(84,'old');
INSERT INTO "copies_queue" VALUES(85,'old');
INSERT INTO "copies_queue" VALUES(86,'old');
INSERT INTO "copies_queue" VALUES(88,'old');
INSERT INTO "copies_queue" VALUES(89,'old');
INSERT INTO "copies_queue" VALUES(90,'old');
INSERT INTO "copies_queue" VALUES(91,'old');
INSERT INTO "copies_queue" VALUES(92,'old');
INSERT INTO "copies_queue" VALUES(93,'old');
INSERT INTO "copies_queue" VALUES(94,'old');
INSERT INTO "copies_queue" VALUES(95,'old');
INSERT INTO "copies_queue" VALUES(96,'old');
INSERT INTO "copies_queue" VALUES(98,'old');
INSERT INTO "copies_queue" VALUES(99,'old');
INSERT INTO "copies_queue" VALUES(100,'old');
INSERT INTO "copies_queue" VALUES(101,'old');
INSERT INTO "copies_queue" VALUES(102,'old');
INSERT INTO "copies_queue" VALUES(103,'old');
INSERT INTO "copies_queue" VALUES(104,'old');
INSERT INTO "copies_queue" VALUES(105,'old');
INSERT INTO "copies_queue" VALUES(106,'old');
INSERT INTO "copies_queue" VALUES(108,'old');
INSERT INTO "copies_queue" VALUES(109,'old');
INSERT INTO "copies_queue" VALUES(110,'old');
INSERT INTO "copies_queue" VALUES(111,'old');
INSERT INTO "copies_queue" VALUES(112,'old');
INSERT INTO "copies_queue" VALUES(113,'old');
INSERT INTO "copies_queue" VALUES(114,'old');
INSERT INTO "copies_queue" VALUES(115,'old');
INSERT INTO "copies_queue" VALUES(116,'old');
INSERT INTO "copies_queue" VALUES(118,'old');
INSERT INTO "copies_queue" VALUES(119,'old');
INSERT INTO "copies_queue" VALUES(120,'old');
INSERT INTO "copies_queue" VALUES(121,'old');
INSERT INTO "copies_queue" VALUES(122,'old');
INSERT INTO "copies_queue" VALUES(123,'old');
INSERT INTO "copies_queue" VALUES(124,'old');
INSERT INTO "copies_queue" VALUES(125,'old');
INSERT INTO "copies_queue" VALUES(126,'old');
INSERT INTO "copies_queue" VALUES(128,'old');
INSERT INTO "copies_queue" VALUES(129,'old');
INSERT INTO "copies_queue" VALUES(130,'old');
CREATE TABLE copies_quick (n bigint, who text);
INSERT INTO "copies_quick" VALUES(1,'old');
INSERT INTO "copies_quick" VALUES(2,'old');
INSERT INTO "copies_quick" VALUES(3,'old');
INSERT INTO "copies_quick" VALUES(4,'old');
INSERT INTO "copies_quick" VALUES(5,'old');
INSERT INTO "copies_quick" VALUES(6,'old');
INSERT INTO "copies_quick" VALUES(8,'old');
INSERT INTO "copies_quick" VALUES(9,'old');
INSERT INTO "copies_quick" VALUES(10,'old');
INSERT INTO "copies_quick" VALUES(11,'old');
INSERT INTO "copies_quick" VALUES(12,'old');
INSERT INTO "copies_quick" VALUES(13,'old');
INSERT INTO "copies_quick" VALUES(14,'old');
INSERT INTO "copies_quick" VALUES(15,'old');
INSERT INTO "copies_quick" VALUES(16,'old');
INSERT INTO "copies_quick" VALUES(18,'old');
INSERT INTO "copies_quick" VALUES(19,'old');
INSERT INTO "copies_quick" VALUES(20,'old');
CREATE TABLE copies_short (n bigint, who text);
INSERT INTO "copies_short" VALUES(1,'old');
INSERT INTO "copies_short" VALUES(2,'old');
INSERT INTO "copies_short" VALUES(3,'old');
INSERT INTO "copies_short" VALUES(4,'old');
INSERT INTO "copies_short" VALUES(5,'old');
INSERT INTO "copies_short" VALUES(6,'old');
INSERT INTO "copies_short" VALUES(8,'old');
INSERT INTO "copies_short" VALUES(9,'old');
INSERT INTO "copies_short" VALUES(10,'old');
INSERT INTO "copies_short" VALUES(11,'old');
INSERT INTO "copies_short" VALUES(12,'old');
INSERT INTO "copies_short" VALUES(13,'old');
INSERT INTO "copies_short" VALUES(14,'old');
INSERT INTO "copies_short" VALUES(15,'old');
INSERT INTO "copies_short" VALUES(16,'old');
INSERT INTO "copies_short" VALUES(18,'old');
INSERT INTO "copies_short" VALUES(19,'old');
INSERT INTO "copies_short" VALUES(20,'old');
CREATE TABLE dataflow_checkpoint (
    flow_id integer not null references dataflow_flow (id),
    scope text not null default '',
    partition text not null default '',
    cursor text,
    seq integer not null default 0,
    read integer not null default 0,
    written integer not null default 0,
    redundant integer not null default 0,
    filtered integer not null default 0,
    dropped integer not null default 0,
    dead_lettered integer not null default 0,
    done integer not null default 0,
    updated_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')), updated integer not null default 0, run_id integer, moved_at text, set_seq integer not null default 0,
    primary key (flow_id, scope, partition)
);
INSERT INTO "dataflow_checkpoint" VALUES(3,'','','20',2,20,18,0,0,0,2,0,'2026-11-29 06:26:20.008',0,1,'2026-11-29 06:26:20.008',0);
INSERT INTO "dataflow_checkpoint" VALUES(4,'','','20',2,20,18,0,0,0,2,0,'2026-11-29 06:26:20.078',0,2,'2026-11-29 06:26:20.078',0);
INSERT INTO "dataflow_checkpoint" VALUES(1,'','','130',14,130,117,0,0,0,13,0,'2026-11-29 06:26:22.849',0,3,'2026-11-29 06:26:22.849',0);
INSERT INTO "dataflow_checkpoint" VALUES(2,'','','130',15,130,117,0,0,0,13,0,'2026-11-29 06:26:22.878',0,4,'2026-11-29 06:26:22.878',0);
CREATE TABLE dataflow_cursor_change (
    id integer primary key autoincrement,
    flow_id integer not null references dataflow_flow (id),
    from_cursor text,
    to_cursor text,
    seq integer not null,
    actor text not null default '',
    reason text not null default '',
    created_at text not null
);
CREATE TABLE dataflow_dead_letter (
    id integer primary key autoincrement,
    flow_id integer not null references dataflow_flow (id),
    run_id integer not null references dataflow_run (id) on delete cascade,
    stage text not null,
    key text not null,
    payload text,
    error text not null,
    created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    replayed_at text
);
INSERT INTO "dataflow_dead_letter" VALUES(1,3,1,'transform','7','7','number 7 is bad','2026-11-29 06:26:20.008',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(2,3,1,'transform','17','17','number 17 is bad','2026-11-29 06:26:20.008',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(3,4,2,'transform','7','7','number 7 is bad','2026-11-29 06:26:20.076',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(4,4,2,'transform','17','17','number 17 is bad','2026-11-29 06:26:20.076',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(5,1,3,'transform','7','7','number 7 is bad','2026-11-29 06:26:20.301',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(6,2,4,'transform','7','7','number 7 is bad','2026-11-29 06:26:20.323',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(7,1,3,'transform','17','17','number 17 is bad','2026-11-29 06:26:20.510',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(8,2,4,'transform','17','17','number 17 is bad','2026-11-29 06:26:20.530',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(9,1,3,'transform','27','27','number 27 is bad','2026-11-29 06:26:20.732',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(10,2,4,'transform','27','27','number 27 is bad','2026-11-29 06:26:20.753',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(11,1,3,'transform','37','37','number 37 is bad','2026-11-29 06:26:20.939',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(12,2,4,'transform','37','37','number 37 is bad','2026-11-29 06:26:20.957',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(13,1,3,'transform','47','47','number 47 is bad','2026-11-29 06:26:21.156',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(14,2,4,'transform','47','47','number 47 is bad','2026-11-29 06:26:21.167',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(15,1,3,'transform','57','57','number 57 is bad','2026-11-29 06:26:21.372',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(16,2,4,'transform','57','57','number 57 is bad','2026-11-29 06:26:21.376',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(17,2,4,'transform','67','67','number 67 is bad','2026-11-29 06:26:21.589',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(18,1,3,'transform','67','67','number 67 is bad','2026-11-29 06:26:21.592',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(19,1,3,'transform','77','77','number 77 is bad','2026-11-29 06:26:21.804',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(20,2,4,'transform','77','77','number 77 is bad','2026-11-29 06:26:21.806',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(21,1,3,'transform','87','87','number 87 is bad','2026-11-29 06:26:22.021',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(22,2,4,'transform','87','87','number 87 is bad','2026-11-29 06:26:22.036',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(23,2,4,'transform','97','97','number 97 is bad','2026-11-29 06:26:22.223',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(24,1,3,'transform','97','97','number 97 is bad','2026-11-29 06:26:22.224',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(25,1,3,'transform','107','107','number 107 is bad','2026-11-29 06:26:22.431',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(26,2,4,'transform','107','107','number 107 is bad','2026-11-29 06:26:22.463',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(27,1,3,'transform','117','117','number 117 is bad','2026-11-29 06:26:22.640',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(28,2,4,'transform','117','117','number 117 is bad','2026-11-29 06:26:22.670',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(29,1,3,'transform','127','127','number 127 is bad','2026-11-29 06:26:22.848',NULL);
INSERT INTO "dataflow_dead_letter" VALUES(30,2,4,'transform','127','127','number 127 is bad','2026-11-29 06:26:22.878',NULL);
CREATE TABLE dataflow_flow (
    id integer primary key autoincrement,
    name text not null unique,
    source text not null,
    sink text not null,
    runtime text not null,
    guarantee text not null,
    state text not null default 'active' check (state in ('active', 'inactive')),
    state_by text not null default '',
    state_reason text not null default '',
    state_at text,
    next_run_at text,
    last_run_at text,
    last_success_at text,
    last_error text not null default '',
    failures integer not null default 0,
    code_version text not null default '',
    definition_hash text not null default '',
    created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    updated_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')), schedule text not null default '{}', schedule_at text not null default '1970-01-01 00:00:00.000', pause_after integer not null default 0, probe_after text not null default '0', tripped_at text, tripped_reason text not null default '', probe_at text, runtime_from text,
    check (length(name) between 1 and 200)
);
INSERT INTO "dataflow_flow" VALUES(1,'loop','{"type":"custom"}','{"type":"sqltable.insert","detail":{"table":"copies_loop"}}','{"type":"heartbeat","batch_size":10,"enabled":true,"interval":1}','exactly_once','active','','',NULL,'2026-11-29 06:26:23.000',NULL,NULL,'',0,'old','63015193862dd3c8','2026-11-29 06:26:19.891','2026-11-29 06:26:19.891','{"interval":1}','2026-11-29 06:26:19.891',0,'0',NULL,'',NULL,NULL);
INSERT INTO "dataflow_flow" VALUES(2,'queue','{"type":"custom"}','{"type":"sqltable.insert","detail":{"table":"copies_queue"}}','{"type":"job_queue","queue":"active_data_flow","priority":null,"batch_size":10,"enabled":true,"interval":1}','exactly_once','active','','',NULL,'2026-11-29 06:26:23.000',NULL,NULL,'',0,'old','872430d244104525','2026-11-29 06:26:19.892','2026-11-29 06:26:19.892','{"interval":1}','2026-11-29 06:26:19.892',0,'0',NULL,'',NULL,NULL);
INSERT INTO "dataflow_flow" VALUES(3,'short','{"type":"custom"}','{"type":"sqltable.insert","detail":{"table":"copies_short"}}','{"type":"job_queue","queue":"active_data_flow","priority":null,"batch_size":null,"enabled":true,"interval":null}','exactly_once','active','','',NULL,NULL,'2026-11-29 06:26:20.040','2026-11-29 06:26:20.040','',0,'old','f021514baeefdd1d','2026-11-29 06:26:19.902','2026-11-29 06:26:19.902','{}','2026-11-29 06:26:19.902',0,'0',NULL,'',NULL,NULL);
INSERT INTO "dataflow_flow" VALUES(4,'quick','{"type":"custom"}','{"type":"sqltable.insert","detail":{"table":"copies_quick"}}','{"type":"heartbeat","batch_size":null,"enabled":true,"interval":null}','exactly_once','active','','',NULL,NULL,'2026-11-29 06:26:20.100','2026-11-29 06:26:20.100','',0,'old','9e4b6be6190f8ac1','2026-11-29 06:26:19.919','2026-11-29 06:26:19.919','{}','2026-11-29 06:26:19.919',0,'0',NULL,'',NULL,NULL);
CREATE TABLE dataflow_migration (
	version integer primary key,
	name text not null,
	created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
INSERT INTO "dataflow_migration" VALUES(1,'initial','2026-11-29 06:26:19.861');
INSERT INTO "dataflow_migration" VALUES(2,'schedule','2026-11-29 06:26:19.879');
INSERT INTO "dataflow_migration" VALUES(3,'runtime_from','2026-11-29 06:26:19.883');
INSERT INTO "dataflow_migration" VALUES(4,'cursor','2026-11-29 06:26:19.889');
CREATE TABLE dataflow_process (
    id text primary key,
    code_version text not null default '',
    flows text not null,
    queues text,
    started_at text not null,
    seen_at text not null,
    until text not null
);
INSERT INTO "dataflow_process" VALUES('old9678','old','["loop","queue","quick","short"]','["active_data_flow"]','2026-11-29 06:26:19.963','2026-11-29 06:26:21.463','2026-11-29 06:26:27.463');
CREATE TABLE dataflow_run (
    id integer primary key autoincrement,
    flow_id integer not null references dataflow_flow (id),
    state text not null default 'pending'
        check (state in ('pending', 'in_progress', 'success', 'failed', 'cancelled')),
    trigger text not null,
    unique_key text,
    scope text not null default '',
    params text,
    scheduled_for text not null,
    run_after text not null,
    created_at text not null,
    started_at text,
    ended_at text,
    attempt integer not null default 0,
    max_attempts integer not null,
    rescues integer not null default 0,
    slot integer,
    lease_no integer not null default 0,
    lease_until text,
    worker text not null default '',
    queue text not null default '',
    river_job_id integer,
    read integer not null default 0,
    written integer not null default 0,
    redundant integer not null default 0,
    filtered integer not null default 0,
    dropped integer not null default 0,
    dead_lettered integer not null default 0,
    total integer,
    from_cursor text,
    to_cursor text,
    error text not null default '',
    errors text not null default '[]',
    actor text not null default '',
    reason text not null default '',
    cancel_requested_at text,
    cancelled_by text not null default '',
    cancel_reason text not null default '',
    code_version text not null default '', updated integer not null default 0, until_cursor text,
    check ((state = 'in_progress') = (slot is not null)),
    check ((state in ('success', 'failed', 'cancelled')) = (ended_at is not null))
);
INSERT INTO "dataflow_run" VALUES(1,3,'success','manual',NULL,'',NULL,'2026-11-29 06:26:19.947','2026-11-29 06:26:19.947','2026-11-29 06:26:19.947','2026-11-29 06:26:19.995','2026-11-29 06:26:20.035',1,5,0,NULL,1,NULL,'old9678','active_data_flow',1,20,18,0,0,0,2,NULL,'null','20','','[]','','',NULL,'','','old',0,NULL);
INSERT INTO "dataflow_run" VALUES(2,4,'success','manual',NULL,'',NULL,'2026-11-29 06:26:19.978','2026-11-29 06:26:19.978','2026-11-29 06:26:19.978','2026-11-29 06:26:20.051','2026-11-29 06:26:20.093',1,5,0,NULL,1,NULL,'old9678','',NULL,20,18,0,0,0,2,NULL,'null','20','','[]','','',NULL,'','','old',0,NULL);
INSERT INTO "dataflow_run" VALUES(3,1,'in_progress','manual',NULL,'',NULL,'2026-11-29 06:26:20.005','2026-11-29 06:26:20.005','2026-11-29 06:26:20.005','2026-11-29 06:26:20.083',NULL,1,5,0,0,1,'2026-11-29 06:26:25.032','old9678','',NULL,130,117,0,0,0,13,NULL,'null','130','','[]','','',NULL,'','','old',0,NULL);
INSERT INTO "dataflow_run" VALUES(4,2,'in_progress','manual',NULL,'',NULL,'2026-11-29 06:26:20.020','2026-11-29 06:26:22.223','2026-11-29 06:26:20.020','2026-11-29 06:26:20.106',NULL,1,5,0,0,2,'2026-11-29 06:26:25.254','old9678','active_data_flow',3,130,117,0,0,0,13,NULL,'null','130','','[]','','',NULL,'','','old',0,NULL);
CREATE TABLE dataflow_tick (
    id integer primary key autoincrement,
    flow_id integer not null references dataflow_flow (id),
    first_at text not null,
    last_at text not null,
    ticks integer not null default 1,
    reason text not null,
    created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
INSERT INTO "dataflow_tick" VALUES(1,1,'2026-11-29 06:26:20.000','2026-11-29 06:26:22.000',3,'overlap','2026-11-29 06:26:20.013');
INSERT INTO "dataflow_tick" VALUES(2,2,'2026-11-29 06:26:20.000','2026-11-29 06:26:22.000',3,'overlap','2026-11-29 06:26:20.025');
CREATE TABLE river_job (
    id integer PRIMARY KEY AUTOINCREMENT,
    args blob NOT NULL DEFAULT (jsonb('{}')),
    attempt integer NOT NULL DEFAULT 0,
    attempted_at timestamp,
    attempted_by blob, -- json
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    errors blob, -- json
    finalized_at timestamp,
    kind text NOT NULL,
    max_attempts integer NOT NULL DEFAULT 25,
    metadata blob NOT NULL DEFAULT (jsonb('{}')),
    priority integer NOT NULL DEFAULT 1,
    queue text NOT NULL DEFAULT 'default',
    state text NOT NULL DEFAULT 'available',
    scheduled_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    tags blob NOT NULL DEFAULT (jsonb('[]')),
    unique_key blob,
    unique_states integer,
    CONSTRAINT finalized_or_finalized_at_null CHECK (
        (finalized_at IS NULL AND state NOT IN ('cancelled', 'completed', 'discarded')) OR
        (finalized_at IS NOT NULL AND state IN ('cancelled', 'completed', 'discarded'))
    ),
    CONSTRAINT priority_in_range CHECK (priority >= 1 AND priority <= 4),
    CONSTRAINT queue_length CHECK (length(queue) > 0 AND length(queue) < 128),
    CONSTRAINT kind_length CHECK (length(kind) > 0 AND length(kind) < 128),
    CONSTRAINT state_valid CHECK (state IN ('available', 'cancelled', 'completed', 'discarded', 'pending', 'retryable', 'running', 'scheduled'))
);
INSERT INTO "river_job" VALUES(1,X'CC1377666C6F775F696413336772756E5F69641331',1,'2026-11-29 06:26:19.965',X'CB1FC71D766D5F323032365F31315F32395430365F32365F31395F393334313231','2026-11-29 06:26:19.947',NULL,'2026-11-29 06:26:20.051','data_flow',5,X'CC3147666C6F775773686F7274C71272697665723A756E697175655F6E6F6E6365C71030303637383838396162663663373866',1,'active_data_flow','completed','2026-11-29 06:26:19.947',X'0B',NULL,NULL);
INSERT INTO "river_job" VALUES(2,X'CC1377666C6F775F696413326772756E5F69641334',1,'2026-11-29 06:26:20.065',X'CB1FC71D766D5F323032365F31315F32395430365F32365F31395F393334313231','2026-11-29 06:26:20.020',NULL,'2026-11-29 06:26:22.244','data_flow',5,X'CC3147666C6F77577175657565C71272697665723A756E697175655F6E6F6E6365C71039313038333866323935663561316530',1,'active_data_flow','completed','2026-11-29 06:26:20.020',X'0B',NULL,NULL);
INSERT INTO "river_job" VALUES(3,X'CC1377666C6F775F696413326772756E5F69641334',1,'2026-11-29 06:26:22.253',X'CB1FC71D766D5F323032365F31315F32395430365F32365F31395F393334313231','2026-11-29 06:26:22.224',NULL,NULL,'data_flow',5,X'CC3147666C6F77577175657565C71272697665723A756E697175655F6E6F6E6365C71061373939373234383039313135633334',1,'active_data_flow','running','2026-11-29 06:26:22.224',X'0B',NULL,NULL);
CREATE TABLE river_leader (
    elected_at timestamp NOT NULL,
    expires_at timestamp NOT NULL,
    leader_id text NOT NULL,
    name text PRIMARY KEY NOT NULL DEFAULT 'default' CHECK (name = 'default'),
    CONSTRAINT name_length CHECK (length(name) > 0 AND length(name) < 128),
    CONSTRAINT leader_id_length CHECK (length(leader_id) > 0 AND length(leader_id) < 128)
);
CREATE TABLE river_migration (
    line text NOT NULL,
    version integer NOT NULL,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT line_length CHECK (length(line) > 0 AND length(line) < 128),
    CONSTRAINT version_gte_1 CHECK (version >= 1),
    PRIMARY KEY (line, version)
);
INSERT INTO "river_migration" VALUES('main',1,'2026-11-29 06:26:19');
INSERT INTO "river_migration" VALUES('main',2,'2026-11-29 06:26:19');
INSERT INTO "river_migration" VALUES('main',3,'2026-11-29 06:26:19');
INSERT INTO "river_migration" VALUES('main',4,'2026-11-29 06:26:19');
INSERT INTO "river_migration" VALUES('main',5,'2026-11-29 06:26:19');
INSERT INTO "river_migration" VALUES('main',6,'2026-11-29 06:26:19');
INSERT INTO "river_migration" VALUES('main',7,'2026-11-29 06:26:19');
INSERT INTO "river_migration" VALUES('main',8,'2026-11-29 06:26:19');
CREATE TABLE river_notification (
    id integer PRIMARY KEY AUTOINCREMENT,
    created_at timestamp NOT NULL DEFAULT (datetime('now', 'subsec')),
    payload text NOT NULL,
    topic text NOT NULL,
    CONSTRAINT topic_length CHECK (length(topic) > 0 AND length(topic) < 128)
);
INSERT INTO "river_notification" VALUES(1,'2026-11-29 06:26:19.947','{"queue": "active_data_flow"}','river_insert');
INSERT INTO "river_notification" VALUES(2,'2026-11-29 06:26:22.224','{"queue": "active_data_flow"}','river_insert');
CREATE TABLE river_queue (
    name text PRIMARY KEY NOT NULL,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    metadata blob NOT NULL DEFAULT (jsonb('{}')),
    paused_at timestamp,
    updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO "river_queue" VALUES('active_data_flow','2026-11-29 06:26:19.935',X'0C',NULL,'2026-11-29 06:26:19.935');
CREATE INDEX river_notification_created_at_idx ON river_notification (created_at);
CREATE INDEX river_notification_topic_id_idx ON river_notification (topic, id);
CREATE INDEX river_job_kind ON river_job (kind);
CREATE INDEX river_job_state_and_finalized_at_index ON river_job (state, finalized_at) WHERE finalized_at IS NOT NULL;
CREATE INDEX river_job_prioritized_fetching_index ON river_job (state, queue, priority, scheduled_at, id);
CREATE UNIQUE INDEX river_job_unique_idx ON river_job (unique_key)
    WHERE unique_key IS NOT NULL
        AND unique_states IS NOT NULL
        AND CASE state
            WHEN 'available' THEN unique_states & (1 << 0)
            WHEN 'cancelled' THEN unique_states & (1 << 1)
            WHEN 'completed' THEN unique_states & (1 << 2)
            WHEN 'discarded' THEN unique_states & (1 << 3)
            WHEN 'pending'   THEN unique_states & (1 << 4)
            WHEN 'retryable' THEN unique_states & (1 << 5)
            WHEN 'running'   THEN unique_states & (1 << 6)
            WHEN 'scheduled' THEN unique_states & (1 << 7)
            ELSE 0
        END >= 1;
CREATE UNIQUE INDEX dataflow_run_slot on dataflow_run (flow_id, slot) where state = 'in_progress';
CREATE UNIQUE INDEX dataflow_run_waiting on dataflow_run (flow_id, unique_key) where state = 'pending';
CREATE INDEX dataflow_run_due on dataflow_run (run_after) where state = 'pending';
CREATE INDEX dataflow_run_lease on dataflow_run (lease_until) where state = 'in_progress';
CREATE INDEX dataflow_run_flow on dataflow_run (flow_id, id);
CREATE INDEX dataflow_run_job on dataflow_run (river_job_id) where river_job_id is not null;
CREATE INDEX dataflow_run_ended on dataflow_run (ended_at) where ended_at is not null;
CREATE INDEX dataflow_dead_letter_flow on dataflow_dead_letter (flow_id, id);
CREATE INDEX dataflow_dead_letter_run on dataflow_dead_letter (run_id);
CREATE INDEX dataflow_tick_flow on dataflow_tick (flow_id, last_at);
CREATE INDEX dataflow_flow_next_run on dataflow_flow (next_run_at) where next_run_at is not null;
CREATE INDEX dataflow_flow_probe on dataflow_flow (probe_at) where probe_at is not null;
CREATE UNIQUE INDEX dataflow_run_tick on dataflow_run (flow_id, scheduled_for) where trigger = 'schedule';
CREATE INDEX dataflow_cursor_change_flow on dataflow_cursor_change (flow_id, id);
CREATE INDEX dataflow_run_scope on dataflow_run (flow_id, scope) where scope <> '';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('river_job',3);
INSERT INTO "sqlite_sequence" VALUES('dataflow_flow',4);
INSERT INTO "sqlite_sequence" VALUES('dataflow_run',4);
INSERT INTO "sqlite_sequence" VALUES('river_notification',2);
INSERT INTO "sqlite_sequence" VALUES('dataflow_dead_letter',30);
INSERT INTO "sqlite_sequence" VALUES('dataflow_tick',2);
COMMIT;
pragma foreign_keys = on;
