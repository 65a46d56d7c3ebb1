/*
 * Forms that texts of the configuration must have: addresses, URLs, names, labels. Pure checks of
 * one value, without lookups; only for tables of settings.
 */
#ifndef MAYFLY_CONFIG_FORMS_H
#define MAYFLY_CONFIG_FORMS_H

#include "common/config/setting.h"

extern const struct setting_form form_name;
extern const struct setting_form form_admin_address; /* or a Unix socket */
extern const struct setting_form form_address;       /* numeric: the address does not depend on a
                                                * lookup */
extern const struct setting_form form_http_url;
extern const struct setting_form form_http_header; /* "Name: value" */
extern const struct setting_form form_api_url;
extern const struct setting_form form_queue_url;
extern const struct setting_form form_ledger_url;
extern const struct setting_form form_kafka_topic;
extern const struct setting_form form_url_path;
extern const struct setting_form form_scope;
extern const struct setting_form form_owner;
extern const struct setting_form form_one_repository;
extern const struct setting_form form_set_name;
extern const struct setting_form form_repository;
extern const struct setting_form form_repository_group;
extern const struct setting_form form_label;
extern const struct setting_form form_id_range;
extern const struct setting_form form_app_key;       /* PEM, or kms: and a key's ARN, id or alias */
extern const struct setting_form form_trusted_proxy; /* an address or prefix, but all addresses */
extern const struct setting_form form_allow_from;    /* the same, or github-hooks */
extern const struct setting_form form_secret;
extern const struct setting_form form_token;
extern const struct setting_form form_price;
extern const struct setting_form form_schedule;
extern const struct setting_form form_idle_scope;

#endif
