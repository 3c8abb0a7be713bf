BEGIN TRANSACTION;
CREATE TABLE compute_aliases (account TEXT NOT NULL, name TEXT NOT NULL, compute_id TEXT NOT NULL, PRIMARY KEY (account, name));
CREATE TABLE deployments (
	seq INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	account TEXT NOT NULL, 
	service_id VARCHAR(36) NOT NULL, 
	service_name TEXT NOT NULL, 
	image_id VARCHAR(36) NOT NULL, 
	spec TEXT NOT NULL, 
	status TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	expired_at DATETIME, secrets TEXT, change TEXT, 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(image_id) REFERENCES images (id)
);
INSERT INTO "deployments" VALUES(1,'8908e63c-e801-48b9-866a-d23e33ae630e','local/local/default','29bab9ed-6e91-41f0-b0be-4e9b228ac19f','steady','e7cdddff-adce-49c4-bd67-c2fb9305279c','{"appInsightsEnabled":null,"autoScaler":null,"containerResourceReservation":null,"dataCollection":null,"maxConcurrentRequestsPerContainer":null,"numReplicas":null,"computeResource":{"id":"local","type":"Cluster"},"imageId":"e7cdddff-adce-49c4-bd67-c2fb9305279c","name":"steady"}','Expired','2026-11-25 07:40:03.518548','2026-11-25 07:40:04.471994',NULL,NULL);
INSERT INTO "deployments" VALUES(2,'7a7c9f93-22fe-4fe7-ba89-e4fd239f4108','local/local/default','29bab9ed-6e91-41f0-b0be-4e9b228ac19f','steady','e7cdddff-adce-49c4-bd67-c2fb9305279c','{"appInsightsEnabled":null,"autoScaler":null,"containerResourceReservation":null,"dataCollection":null,"maxConcurrentRequestsPerContainer":null,"numReplicas":1,"computeResource":{"id":"local","type":"Cluster"},"imageId":"e7cdddff-adce-49c4-bd67-c2fb9305279c","name":"steady"}','Active','2026-11-25 07:40:03.982068',NULL,NULL,NULL);
INSERT INTO "deployments" VALUES(3,'cd810701-a3a3-43f8-86d1-24ec7d927ef3','local/local/default','3844b2f7-80d0-47fa-8084-275b84f8d740','gone','e7cdddff-adce-49c4-bd67-c2fb9305279c','{"appInsightsEnabled":null,"autoScaler":{"autoscaleEnabled":true,"minReplicas":1,"maxReplicas":2,"refreshPeriodInSeconds":null,"targetUtilization":null},"containerResourceReservation":null,"dataCollection":null,"maxConcurrentRequestsPerContainer":null,"numReplicas":null,"computeResource":{"id":"local","type":"Cluster"},"imageId":"e7cdddff-adce-49c4-bd67-c2fb9305279c","name":"gone"}','Expired','2026-11-25 07:40:04.490395','2026-11-25 07:40:04.843599',NULL,NULL);
CREATE TABLE images (
	seq INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	account TEXT NOT NULL, 
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	manifest_id VARCHAR(36) NOT NULL, 
	compute_id TEXT NOT NULL, 
	description TEXT, 
	state TEXT NOT NULL, 
	error TEXT, 
	location TEXT, 
	interpreter TEXT, 
	created_at DATETIME NOT NULL, collected_at DATETIME, compute_given TEXT, withdrawn_at DATETIME, archived_at DATETIME, 
	PRIMARY KEY (seq), 
	UNIQUE (account, name, version), 
	UNIQUE (id), 
	FOREIGN KEY(manifest_id) REFERENCES manifests (id)
);
INSERT INTO "images" VALUES(1,'e7cdddff-adce-49c4-bd67-c2fb9305279c','local/local/default','iris',1,'b6183c54-2468-498c-9d0d-440634a28c01','local',NULL,'Succeeded',NULL,'file://@HOME@/images/e7cdddff-adce-49c4-bd67-c2fb9305279c','@PYTHON@','2026-11-25 07:40:02.948658',NULL,NULL,NULL,NULL);
INSERT INTO "images" VALUES(2,'ec31e3a8-3cac-4869-8db6-577d118b1b31','local/local/default','bad',1,'19651674-66b6-4702-8fed-43e632effbc1','local',NULL,'Failed','{"code":"UnreadableUrl","message":"model ''iris'': https://models.example/iris.pkl cannot be read: ...","statusCode":null,"details":null}',NULL,NULL,'2026-11-25 07:40:03.099181',NULL,NULL,NULL,NULL);
CREATE TABLE installation (id VARCHAR(36) NOT NULL, path TEXT NOT NULL, PRIMARY KEY (id));
INSERT INTO "installation" VALUES('836dbe79-38a8-4545-a567-af382c9878c8','@HOME@');
CREATE TABLE manifest_models (
	manifest_id VARCHAR(36) NOT NULL, 
	model_id VARCHAR(36) NOT NULL, 
	position INTEGER NOT NULL, 
	PRIMARY KEY (manifest_id, model_id), 
	FOREIGN KEY(manifest_id) REFERENCES manifests (id), 
	FOREIGN KEY(model_id) REFERENCES models (id)
);
INSERT INTO "manifest_models" VALUES('19651674-66b6-4702-8fed-43e632effbc1','1a8c2c05-c1d8-42fb-ba8c-9926355d93f6',0);
CREATE TABLE manifests (
	seq INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	account TEXT NOT NULL, 
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	doc BLOB NOT NULL, withdrawn_at DATETIME, archived_at DATETIME, 
	PRIMARY KEY (seq), 
	UNIQUE (account, name, version), 
	UNIQUE (id)
);
INSERT INTO "manifests" VALUES(1,'b6183c54-2468-498c-9d0d-440634a28c01','local/local/default','iris',1,X'7B22617373657473223A5B7B226964223A2273636F72652E7079222C226D696D6554797065223A22746578742F706C61696E222C22756E7061636B223A6E756C6C2C2275726C223A2266696C653A2F2F2F686F6D652F757365722F6472697665722F73636F72652E7079227D5D2C2264726976657250726F6772616D223A2273636F72652E7079222C226E616D65223A2269726973222C2274617267657452756E74696D65223A7B2270726F70657274696573223A7B7D2C2272756E74696D6554797065223A22507974686F6E227D2C226964223A2262363138336335342D323436382D343938632D396430642D343430363334613238633031222C2276657273696F6E223A312C226372656174656454696D65223A22323032362D31312D32355430373A34303A30322E3933343430305A222C226465736372697074696F6E223A6E756C6C2C226D6F64656C496473223A5B5D2C226D6F64656C54797065223A2252656769737465726564222C227765627365727669636554797065223A225265616C74696D65227D',NULL,NULL);
INSERT INTO "manifests" VALUES(2,'19651674-66b6-4702-8fed-43e632effbc1','local/local/default','second',1,X'7B22617373657473223A5B7B226964223A2273636F72652E7079222C226D696D6554797065223A22746578742F706C61696E222C22756E7061636B223A6E756C6C2C2275726C223A2266696C653A2F2F2F686F6D652F757365722F6472697665722F73636F72652E7079227D5D2C2264726976657250726F6772616D223A2273636F72652E7079222C226E616D65223A227365636F6E64222C2274617267657452756E74696D65223A7B2270726F70657274696573223A7B7D2C2272756E74696D6554797065223A22507974686F6E227D2C226964223A2231393635313637342D363662362D343730322D386665642D343365363332656666626331222C2276657273696F6E223A312C226372656174656454696D65223A22323032362D31312D32355430373A34303A30332E3039323530315A222C226465736372697074696F6E223A6E756C6C2C226D6F64656C496473223A5B2231613863326330352D633164382D343266622D626138632D393932363335356439336636225D2C226D6F64656C54797065223A2252656769737465726564222C227765627365727669636554797065223A225265616C74696D65227D',NULL,NULL);
CREATE TABLE model_tags (
	tag TEXT NOT NULL, 
	model_seq INTEGER NOT NULL, 
	PRIMARY KEY (tag, model_seq), 
	FOREIGN KEY(model_seq) REFERENCES models (seq)
);
INSERT INTO "model_tags" VALUES('old',1);
INSERT INTO "model_tags" VALUES('prod',1);
CREATE TABLE models (
	seq INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	account TEXT NOT NULL, 
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	doc BLOB NOT NULL, withdrawn_at DATETIME, archived_at DATETIME, 
	PRIMARY KEY (seq), 
	UNIQUE (account, name, version), 
	UNIQUE (id)
);
INSERT INTO "models" VALUES(1,'78da132a-e638-46b1-be4a-d03d17713b11','local/local/default','iris',1,X'7B226D696D6554797065223A226170706C69636174696F6E2F6A736F6E222C226E616D65223A2269726973222C2275726C223A2266696C653A2F2F2F686F6D652F757365722F6472697665722F73636F72652E7079222C226964223A2237386461313332612D653633382D343662312D626534612D643033643137373133623131222C2276657273696F6E223A312C22637265617465644174223A22323032362D31312D32355430373A34303A30322E3839353136355A222C226465736372697074696F6E223A6E756C6C2C2274616773223A5B2270726F64222C226F6C64225D2C22756E7061636B223A6E756C6C7D',NULL,NULL);
INSERT INTO "models" VALUES(2,'1a8c2c05-c1d8-42fb-ba8c-9926355d93f6','local/local/default','iris',2,X'7B226D696D6554797065223A226170706C69636174696F6E2F6A736F6E222C226E616D65223A2269726973222C2275726C223A2268747470733A2F2F6D6F64656C732E6578616D706C652F697269732E706B6C222C226964223A2231613863326330352D633164382D343266622D626138632D393932363335356439336636222C2276657273696F6E223A322C22637265617465644174223A22323032362D31312D32355430373A34303A30322E3931323233355A222C226465736372697074696F6E223A227365636F6E64222C2274616773223A6E756C6C2C22756E7061636B223A6E756C6C7D',NULL,NULL);
CREATE TABLE operations (
	seq INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	account TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	resource_id VARCHAR(36) NOT NULL, 
	state TEXT NOT NULL, 
	error TEXT, 
	attempts INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	end_time DATETIME, claimed_by VARCHAR(36), warning TEXT, made_versions TEXT, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
INSERT INTO "operations" VALUES(1,'89fd8ff1-4ce9-441c-8310-8e6c617a055b','local/local/default','Image','e7cdddff-adce-49c4-bd67-c2fb9305279c','Succeeded',NULL,1,'2026-11-25 07:40:02.949281','2026-11-25 07:40:03.062378',NULL,NULL,NULL);
INSERT INTO "operations" VALUES(2,'2ea0f04e-63aa-46c0-8467-0bb2dc174f6a','local/local/default','Image','ec31e3a8-3cac-4869-8db6-577d118b1b31','Failed','{"code":"UnreadableUrl","message":"model ''iris'': https://models.example/iris.pkl cannot be read: ...","statusCode":null,"details":null}',1,'2026-11-25 07:40:03.099416','2026-11-25 07:40:03.497148',NULL,NULL,NULL);
INSERT INTO "operations" VALUES(3,'97fa832e-6409-4b91-9743-9855c8c8ef74','local/local/default','Service','29bab9ed-6e91-41f0-b0be-4e9b228ac19f','Succeeded',NULL,0,'2026-11-25 07:40:03.524159','2026-11-25 07:40:03.962319',NULL,NULL,NULL);
INSERT INTO "operations" VALUES(4,'948b6490-fbf5-43bc-b002-7e261a6c6ba2','local/local/default','Service','29bab9ed-6e91-41f0-b0be-4e9b228ac19f','Succeeded',NULL,0,'2026-11-25 07:40:03.986982','2026-11-25 07:40:04.472846',NULL,NULL,NULL);
INSERT INTO "operations" VALUES(5,'a2317731-fb3d-4da7-b1a1-3e3a600f1ce4','local/local/default','Service','3844b2f7-80d0-47fa-8084-275b84f8d740','Succeeded',NULL,0,'2026-11-25 07:40:04.495242','2026-11-25 07:40:04.826020',NULL,NULL,NULL);
CREATE TABLE processes (id VARCHAR(36) NOT NULL, place INTEGER NOT NULL, machine TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL, beats INTEGER NOT NULL, leads BOOLEAN NOT NULL, PRIMARY KEY (id));
CREATE TABLE replicas (
	pid INTEGER NOT NULL, 
	started TEXT NOT NULL, 
	service_id VARCHAR(36) NOT NULL, 
	PRIMARY KEY (pid)
);
CREATE TABLE schema_version (
	version INTEGER NOT NULL
);
INSERT INTO "schema_version" VALUES(7);
CREATE TABLE services (
	seq INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	account TEXT NOT NULL, 
	name TEXT NOT NULL, 
	compute_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	error TEXT, 
	deployment_id VARCHAR(36) NOT NULL, 
	target_id VARCHAR(36), 
	deleting BOOLEAN NOT NULL, 
	port INTEGER, 
	scale INTEGER, 
	primary_key TEXT NOT NULL, 
	secondary_key TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, compute_given TEXT, candidate_of VARCHAR(36), expires_at DATETIME, traffic TEXT, adopts_id VARCHAR(36), 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	UNIQUE (port)
);
INSERT INTO "services" VALUES(1,'29bab9ed-6e91-41f0-b0be-4e9b228ac19f','local/local/default','steady','local','Succeeded',NULL,'7a7c9f93-22fe-4fe7-ba89-e4fd239f4108',NULL,0,@PORT@,NULL,'hX70Hbsl7dMJWNK7aKi2CKhIjLTRlLYTlBtWI_1yZT0','kAwrKIT3mz76z-fC_34xi98Uiv9s-s23BolDKcRwTks','2026-11-25 07:40:03.523471','2026-11-25 07:40:04.472672',NULL,NULL,NULL,NULL,NULL);
CREATE INDEX models_by_account ON models (account, seq);
CREATE INDEX models_by_name ON models (account, name, seq);
CREATE INDEX manifests_by_account ON manifests (account, seq);
CREATE INDEX manifests_by_name ON manifests (account, name, seq);
CREATE INDEX services_by_account ON services (account, seq);
CREATE UNIQUE INDEX services_by_name ON services (account, name) WHERE deleting = 0;
CREATE INDEX operations_open ON operations (kind, state, seq);
CREATE INDEX ix_operations_resource_id ON operations (resource_id);
CREATE INDEX operations_by_account ON operations (account, seq);
CREATE INDEX manifest_models_by_model ON manifest_models (model_id);
CREATE INDEX ix_images_manifest_id ON images (manifest_id);
CREATE INDEX images_by_name ON images (account, name, seq);
CREATE INDEX images_by_account ON images (account, seq);
CREATE INDEX ix_deployments_service_id ON deployments (service_id);
CREATE INDEX deployments_by_account ON deployments (account, seq);
CREATE INDEX ix_deployments_image_id ON deployments (image_id);
CREATE UNIQUE INDEX processes_one_leader ON processes (leads) WHERE leads;
CREATE INDEX ix_operations_end_time ON operations (end_time);
CREATE INDEX ix_services_candidate_of ON services (candidate_of);
CREATE INDEX models_archived ON models (account, seq) WHERE archived_at IS NOT NULL;
CREATE INDEX manifests_archived ON manifests (account, seq) WHERE archived_at IS NOT NULL;
CREATE INDEX images_archived ON images (account, seq) WHERE archived_at IS NOT NULL;
CREATE INDEX services_by_compute ON services (account, compute_id, seq);
CREATE INDEX services_by_compute_given ON services (account, compute_given, seq);
COMMIT;
