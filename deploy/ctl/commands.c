#include "deploy/ctl/commands.h"

#define STORES (CTL_CONFIG | CTL_QUEUE | CTL_LEDGER)
#define LEDGER (CTL_CONFIG | CTL_LEDGER)
#define ARGUMENTS_MAX 38 /* the words of a line to complete */

const struct ctl_command ctl_commands[] = {
    {.words = {"status"},
     .brief = "slots, waiting jobs, lanes and trouble at a glance",
     .help = "Shows the slots of each class and what they are used for, the jobs that wait and for "
             "how long, the lanes of the queue, dead letters, open circuits, and what the reapers "
             "want an operator to know.",
     .needs = CTL_CONFIG,
     .options = {{"--watch", "DURATION", true,
                  "show it again and again, each 2s unless given, until q or Ctrl-C; a store that "
                  "is away is shown, too; with --json one line each time"}},
     .run = ctl_status_run},
    {.words = {"check"},
     .brief = "check the configuration and all that it names",
     .help =
         "Checks the configuration as each daemon reads it, and what it names: addresses and "
         "ports, queue, ledger, AWS, GitHub, images. It is what --check-config --online of the "
         "three daemons does, at once; it launches, registers and creates nothing. One finding a "
         "line: ok, warn or FAIL, and what to do. Run it as the daemons' user on their host: "
         "another one may lack their access.",
     .exits = "1 also if a finding is FAIL.",
     .run = ctl_check},
    {.words = {"app", "create"},
     .brief = "create the GitHub App, and keep its credentials",
     .help =
         "Serves a page on 127.0.0.1 whose button creates the GitHub App with the permissions and "
         "the event that Mayfly needs, waits until GitHub returns, and keeps the App's id, private "
         "key and webhook secret: in the files app-id, app.pem and webhook-secret, of mode 0600, "
         "or "
         "in parameters of AWS's Systems Manager. Nothing that exists is replaced; the room, the "
         "names and the right to write are made sure of before the App is created. It needs no "
         "configuration. A proxy is taken from https_proxy, a server's own certificate authority "
         "from SSL_CERT_FILE.",
     .example = "app create --organization acme --webhook-url https://x.org/webhook",
     .options =
         {{"--organization", "LOGIN", .help = "who owns the App; else it is your own account's"},
          {"--webhook-url", "URL",
           .help = "where GitHub sends webhooks: the ingress, with ingress.path"},
          {"--pull", .help =
                         "without an ingress, for github.pull: the webhook is active, so that "
                         "GitHub logs its deliveries, and its URL, unless given, is one of nobody"},
          {"--output", "DIRECTORY",
           .help = "where the files are made; the present one unless given"},
          {"--ssm", "PREFIX",
           .help = "parameters in place of files: PREFIX/app-id, PREFIX/app-key and "
                   "PREFIX/webhook-secret, the latter two SecureString"},
          {"--scope", "SCOPE",
           .help = "where runners register, as github.scope: organization, unless given, or "
                   "repository"},
          {"--give-up",
           .help = "for reaper.give_up: asks for Actions: write and Checks: write too"},
          {"--name", "NAME", .help = "the App's name: mayfly-LOGIN unless given"},
          {"--api-url", "URL",
           .help = "as github.api_url, for an Enterprise Server: https://HOST/api/v3"},
          {"--no-browser", .help = "open no browser; the page's URL is printed in any case"}},
     .build = ctl_app_create,
     .print = ctl_app_create_print},
    {.words = {"app", "check"},
     .brief = "check the GitHub App: permissions, hook, installations",
     .help = "Checks what GitHub says of the App in the configuration: whether the API answers, "
             "permissions, event, installations, runner groups, the webhook's URL, secret and last "
             "deliveries. It is the part of `check` about GitHub. One finding a line: ok, warn or "
             "FAIL, and what to do.",
     .exits = "1 also if a finding is FAIL.",
     .options = {{"--webhook-url", "URL", .help = "the URL that the App's webhook ought to have"}},
     .run = ctl_app_check},
    {.words = {"app", "hook"},
     .least = 1,
     .most = 1,
     .arguments = "URL",
     .brief = "let GitHub send the App's webhooks to another URL",
     .help = "Sets the URL of the App's webhook, for JSON. Its secret stays as it is.",
     .example = "app hook https://mayfly.example.com/webhook",
     .needs = CTL_CONFIG | CTL_GITHUB,
     .build = ctl_app_hook,
     .print = ctl_done_print},
    {.words = {"app", "import-key"},
     .least = 1,
     .most = 1,
     .arguments = "FROM",
     .brief = "move the App's private key into AWS KMS",
     .help =
         "Imports the App's private key into a key of AWS KMS that signs with it and gives it to "
         "nobody, and tries a signature. FROM is the .pem file, or ssm:NAME. The key is made, "
         "with an alias, unless there is one; a second run finds it and changes nothing. The "
         "private key leaves this process wrapped for KMS alone. It needs no configuration; "
         "credentials and region come from AWS's environment.",
     .example = "app import-key app.pem",
     .options = {{"--alias", "NAME", .help = "of the key: alias/mayfly-github-app unless given"},
                 {"--key", "KEY",
                  .help = "an existing key in place of the alias, by id or ARN: RSA_2048, "
                          "SIGN_VERIFY, EXTERNAL"}},
     .build = ctl_app_import_key,
     .print = ctl_app_import_key_print},
    {.words = {"why"},
     .least = 1,
     .most = 1,
     .arguments = "JOB",
     .brief = "the reason for which a job waits, and its timeline",
     .help = "Shows what is known of a job, the one reason for which it waits, with whose trouble "
             "that is and what to do, and its timeline. JOB is its id or its URL; of a run, by its "
             "id or URL, each job gets a line. GitHub is asked about a job that is not known here, "
             "or that it does not give to VMs that idle, if this user can read the App's key or "
             "the token.",
     .example = "why 123456789",
     .exits = "0: it has ended or runs; 3: it waits, and goes on by itself; 4: it waits until a "
              "person acts; 5: it is not known here, and GitHub does not know it or cannot be "
              "asked; of a run the "
              "highest of its jobs",
     .needs = STORES | CTL_GITHUB,
     .build = ctl_why,
     .print = ctl_why_print},
    {.words = {"jobs"},
     .brief = "jobs that the ledger knows, a page at a time",
     .help = "Lists the jobs that the ledger knows: those that wait, oldest first; then those that "
             "run, those without news for longest first; then those held back (`seen`) and those "
             "that ended, each newest first. "
             "It ends with how to ask for the next page, if there may be one. Each page costs the "
             "same, however many jobs are known: where few jobs fit the options, a page may be "
             "short, or empty, and the next one goes on.",
     .example = "jobs --class small --state waiting,running --limit 20",
     .needs = LEDGER,
     .options = {{"--class", "NAME", .help = "only jobs of this class"},
                 {"--repository", "OWNER/NAME", .help = "only jobs of this repository"},
                 {"--run", "ID", .help = "only jobs of this workflow run"},
                 {"--state", "STATE",
                  .help = "only jobs in this state: waiting, running, seen, done, cancelled, or "
                          "ended for both; or in several, with commas"},
                 {"--after", "PAGE", .help = "the next page, as the one before it says at its end"},
                 {"--limit", "N", .help = "at most so many: 100 unless given, at most 1000"}},
     .build = ctl_jobs,
     .print = ctl_jobs_print},
    {.words = {"vms"},
     .brief = "VMs that hold a slot",
     .help =
         "Lists the VMs that hold a slot, with the job each runs or was launched for. `held`: its "
         "job failed, and classes[].hold_on_failure keeps it (`held_until`, with --json).",
     .needs = LEDGER,
     .build = ctl_vms,
     .print = ctl_vms_print},
    {.words = {"vm", "terminate"},
     .least = 1,
     .most = 1,
     .arguments = "VM",
     .brief = "terminate a VM, unless it runs a job",
     .help = "Terminates a VM, by its name, unless it runs a job; also one that is held. The "
             "reaper asks GitHub whether "
             "it does, and this command waits for what it decides.",
     .example = "vm terminate mayfly-small-1a2b3c",
     .needs = LEDGER,
     .names = CTL_NAMES_VM,
     .options = {{"--force", .help = "also a VM that runs a job: the job fails"}},
     .build = ctl_vm_terminate,
     .print = ctl_done_print},
    {.words = {"shell"},
     .least = 1,
     .most = 1,
     .arguments = "VM",
     .brief = "a shell of root in a VM of this host",
     .help =
         "Opens a shell of root in a VM, by its name, on the VM's host, as root or the worker's "
         "user. Its class must have had `shell: true` when it was launched. On a terminal, ~. at "
         "the start of a line or Ctrl-] ends it, and so does the VM's end; else commands are "
         "read from standard input to its end. One person at a time. What the VM prints is a "
         "stranger's, whoever controls it, and not filtered: believe and paste nothing of it. "
         "Who opened it is in the worker's log (vm_shell_opened) and in the timelines of the VM "
         "and its job. VMs of AWS Lambda have no shell here.",
     .example = "shell mayfly-small-1a2b3c",
     .exits = "that of the shell, if it was opened; 128 and the signal that ended the session",
     .needs = LEDGER,
     .names = CTL_NAMES_VM,
     .run = ctl_shell},
    {.words = {"targets"},
     .brief = "accounts and regions where classes launch, and how full",
     .help =
         "Lists the targets of all classes: account and region, the VMs that hold a slot there "
         "and how many may (max_vms), the launch rate, the weight (0: drained), the classes that "
         "launch there, and the open circuits that stop launches there, since when and why. `open` "
         "gets launches, `stopped` gets none until a probe succeeds, `drained` none until its "
         "weight is above 0. It also names targets that are not configured but still have VMs.",
     .needs = LEDGER,
     .build = ctl_targets,
     .print = ctl_targets_print},
    {.words = {"hosts"},
     .brief = "hosts that run VMs themselves",
     .help = "Lists the hosts that run VMs themselves, whether they are up, drained or silent, and "
             "how many VMs each has.",
     .needs = LEDGER,
     .build = ctl_hosts,
     .print = ctl_hosts_print},
    {.words = {"workers"},
     .brief = "workers and reapers that run",
     .help = "Lists the workers and reapers that have a heartbeat in the ledger, with version and "
             "host.",
     .needs = LEDGER,
     .build = ctl_workers,
     .print = ctl_workers_print},
    {.words = {"host", "drain"},
     .least = 1,
     .most = 1,
     .arguments = "HOST",
     .brief = "let a host launch no more VMs",
     .help = "Lets a host launch no more VMs; those that it has finish their jobs. HOST is its id, "
             "the beginning of it, or its name.",
     .example = "host drain box-1",
     .needs = LEDGER,
     .names = CTL_NAMES_HOST,
     .build = ctl_host_drain,
     .print = ctl_done_print},
    {.words = {"host", "undrain"},
     .least = 1,
     .most = 1,
     .arguments = "HOST",
     .brief = "let a drained host launch VMs again",
     .help = "Lets a host that was drained launch VMs again. HOST is its id, the beginning of it, "
             "or its name.",
     .example = "host undrain box-1",
     .needs = LEDGER,
     .names = CTL_NAMES_HOST,
     .build = ctl_host_undrain,
     .print = ctl_done_print},
    {.words = {"host", "forget"},
     .least = 1,
     .most = 1,
     .arguments = "HOST",
     .brief = "free the slots of a host that is gone permanently",
     .help = "Frees the slots of a host that is gone permanently, without waiting for its VMs' "
             "deadlines. Only for one that does not run any more: its VMs would run beyond the "
             "caps. HOST is its id, the beginning of it, or its name.",
     .example = "host forget box-1",
     .needs = LEDGER,
     .names = CTL_NAMES_HOST,
     .build = ctl_host_forget,
     .print = ctl_done_print},
    {.words = {"classes"},
     .brief = "runner classes, and whether they are paused or retired",
     .help = "Lists the runner classes of the configuration, with their labels, slots and jobs, "
             "and whether they are paused (since when, by whom, why) or retired; and those that it "
             "does not have but that are in use or paused.",
     .needs = LEDGER,
     .build = ctl_classes,
     .print = ctl_classes_print},
    {.words = {"cost"},
     .brief = "what the VMs used and cost, beside GitHub's own runners",
     .help =
         "Shows what the VMs used on the days (UTC) since then, what that costs by the prices of "
         "the configuration or of the provider's region, and what the same jobs cost on "
         "GitHub-hosted runners of that size, by the started minute. It is an estimate: see "
         "deploy/docs/cost.md. A VM counts on the day on which it ended, some two minutes after. "
         "The totals of 90 days are kept. `--by job` and `--by workflow` read the VMs that "
         "the ledger still has (reaper.retention) instead, the oldest 20000 of them.",
     .example = "cost --by repository --since 7d",
     .needs = LEDGER,
     .options = {{"--by", "KEY",
                  .help = "a row for each repository (the default), class, day, job or workflow"},
                 {"--since", "DURATION", .help = "how far back: 30d unless given, at most 90d"}},
     .build = ctl_cost,
     .print = ctl_cost_print},
    {.words = {"circuits"},
     .brief = "open circuits: what is in trouble, and what it said",
     .help = "Lists the circuits that are open: what is in trouble, since when, what it said, and "
             "when it is probed next. What depends on it waits until then.",
     .needs = LEDGER,
     .build = ctl_circuits_list,
     .print = ctl_circuits_list_print},
    {.words = {"circuits", "close"},
     .least = 1,
     .most = 1,
     .arguments = "SUBJECT",
     .brief = "close an open circuit, once its trouble was fixed",
     .help = "Closes an open circuit, so that what depends on its subject goes on within seconds "
             "instead of after the next probe. A job whose message a worker had returned to the "
             "queue meanwhile, with a delay, follows when that ends: within half of "
             "circuit.max_open_duration (1m). If the trouble lasts, the next failures open it "
             "again. SUBJECT is as `circuits` lists it.",
     .example = "circuits close repository:acme/app",
     .needs = LEDGER,
     .names = CTL_NAMES_CIRCUIT,
     .build = ctl_circuit_close,
     .print = ctl_done_print},
    {.words = {"image", "list"},
     .brief = "which version of its image each class launches, or tries",
     .help =
         "Lists the classes whose provider keeps versions of their image: the version that is "
         "launched, the one that is tried (the canary: a share of the launches, until 20 of its "
         "jobs have completed), how far it is, and the last one that was rejected, with the "
         "reason. A class with targets has an image at each: CLASS@TARGET.",
     .needs = LEDGER,
     .build = ctl_image_list,
     .print = ctl_image_list_print},
    {.words = {"image", "promote"},
     .least = 1,
     .most = 2,
     .arguments = "PLACE [VERSION]",
     .brief = "launch a class's VMs from another version of its image",
     .help =
         "All launches at the place use the version from now on: the canary, or the one that is "
         "named, though it may be older or was rejected. Workers follow within seconds; VMs that "
         "run stay. PLACE is a class, or CLASS@TARGET where it has targets.",
     .example = "image promote small 4.0",
     .needs = LEDGER,
     .names = CTL_NAMES_PLACE,
     .build = ctl_image_promote,
     .print = ctl_done_print},
    {.words = {"image", "reject"},
     .least = 1,
     .most = 2,
     .arguments = "PLACE [VERSION]",
     .brief = "never launch a version of a class's image again",
     .help = "The canary, or the version that is named, is not launched any more. Of the good "
             "version the one before it takes over. PLACE is a class, or CLASS@TARGET where it has "
             "targets.",
     .example = "image reject small",
     .needs = LEDGER,
     .names = CTL_NAMES_PLACE,
     .build = ctl_image_reject,
     .print = ctl_done_print},
    {.words = {"pause"},
     .least = 1,
     .most = 1,
     .arguments = "CLASS",
     .brief = "launch no more VMs of a class until it is resumed",
     .help = "Launches no more VMs of a class until it is resumed: its jobs wait, its VMs run on. "
             "Workers follow within two seconds.",
     .example = "pause small --reason 'image 41 does not boot'",
     .needs = LEDGER,
     .names = CTL_NAMES_CLASS,
     .options = {{"--reason", "TEXT", .help = "why, for those who ask later"}},
     .build = ctl_pause,
     .print = ctl_done_print},
    {.words = {"resume"},
     .least = 1,
     .most = 1,
     .arguments = "CLASS",
     .brief = "launch VMs of a paused class again",
     .help = "Launches VMs of a paused class again. Workers follow within two seconds.",
     .example = "resume small",
     .needs = LEDGER,
     .names = CTL_NAMES_CLASS,
     .build = ctl_resume,
     .print = ctl_done_print},
    {.words = {"class", "retire"},
     .least = 1,
     .most = 1,
     .arguments = "CLASS",
     .brief = "route the waiting jobs of a retired class elsewhere",
     .help = "Routes the jobs that wait for a class that is retired (`max_vms: 0`) or not "
             "configured to other classes, by their labels, and dead-letters the rest.",
     .example = "class retire small",
     .needs = STORES,
     .names = CTL_NAMES_CLASS,
     .build = ctl_class_retire,
     .print = ctl_done_print},
    {.words = {"dlq", "list"},
     .most = 1,
     .arguments = "[all]",
     .brief = "messages in the dead-letter queue, with their reasons",
     .help = "Lists the messages in the dead-letter queue, with their reasons: the oldest 100, "
             "and how many there are; with `all`, all of them.",
     .needs = STORES,
     .build = ctl_dlq_list,
     .print = ctl_dlq_list_print},
    {.words = {"dlq", "show"},
     .least = 1,
     .most = 1,
     .arguments = "MESSAGE",
     .brief = "one dead letter, whole",
     .help = "Shows one message of the dead-letter queue, with its body, as JSON.",
     .example = "dlq show 17",
     .needs = STORES,
     .names = CTL_NAMES_MESSAGE,
     .build = ctl_dlq_show,
     .print = ctl_json_print},
    {.words = {"dlq", "redrive"},
     .least = 1,
     .most = 1,
     .arguments = "MESSAGE|all",
     .brief = "return dead letters to their lanes",
     .help = "Returns one message of the dead-letter queue, or `all`, to its lane, with its "
             "attempts at zero. Fix the cause first.",
     .example = "dlq redrive all",
     .needs = STORES,
     .names = CTL_NAMES_MESSAGE,
     .build = ctl_dlq_redrive,
     .print = ctl_done_print},
    {.words = {"dlq", "delete"},
     .least = 1,
     .most = 1,
     .arguments = "MESSAGE",
     .brief = "delete a dead letter",
     .help = "Deletes one message of the dead-letter queue. Its job stays queued at GitHub until "
             "it is cancelled, or launched again.",
     .example = "dlq delete 17",
     .needs = STORES,
     .names = CTL_NAMES_MESSAGE,
     .build = ctl_dlq_delete,
     .print = ctl_done_print},
    {.words = {"backup"},
     .least = 1,
     .most = 1,
     .arguments = "DIRECTORY",
     .brief = "copy the SQLite files of queue and ledger",
     .help = "Copies the SQLite files of queue and ledger to the directory, as queue.db and "
             "ledger.db, while the programs run; replaces no file.",
     .example = "backup /var/backups/mayfly",
     .needs = CTL_CONFIG,
     .names = CTL_NAMES_DIRECTORY,
     .build = ctl_backup,
     .print = ctl_backup_print},
    {.words = {"recover"},
     .brief = "read from GitHub the jobs that a loss has hidden",
     .help = "After the loss of a store, or of webhooks: lets the reaper read from GitHub the jobs "
             "that it delivered since then and that wait.",
     .example = "recover --since 12h",
     .needs = LEDGER,
     .options = {{"--since", "DURATION",
                  .help = "how long ago the loss may have begun: 2h unless given, at most 3d"}},
     .build = ctl_recover,
     .print = ctl_done_print},
    {.words = {"upgrade", "finish"},
     .brief = "let upgraded programs write the new record format",
     .help =
         "After all programs were upgraded: lets them write the new record format. Refuses, and "
         "names them, while programs run that cannot read it.",
     .needs = LEDGER,
     .build = ctl_upgrade_finish,
     .print = ctl_done_print},
    {.words = {"console"},
     .brief = "serve a web page that shows the fleet, and changes nothing",
     .help =
         "Serves a web page that shows what status, jobs, why, vms, hosts, workers, circuits and "
         "dlq "
         "list show, and follows it. It changes nothing, asks GitHub nothing, and reads the stores "
         "only while somebody looks. On loopback or a Unix socket (unix:/PATH) it needs no token; "
         "elsewhere requests need one, which is made and printed once in the page's URL unless "
         "--token-file has it. It speaks no TLS: for others than this host, put a proxy with TLS "
         "before it. Requests must name loopback, the address of --listen, or a name of --host. "
         "Ctrl-C ends it.",
     .example = "console --listen 127.0.0.1:9110",
     .needs = CTL_CONFIG,
     .options = {{"--listen", "ADDRESS", .help = "127.0.0.1:9110 unless given; port 0: any"},
                 {"--host", "NAME",
                  .help = "also a name by which browsers reach it, such as a proxy's; several with "
                          "commas, at most 16"},
                 {"--token-file", "FILE",
                  .help = "has the token that requests need, of 16 to 256 characters"},
                 {"--every", "DURATION",
                  .help = "how often the stores are read while somebody looks: 1s unless given"}},
     .run = ctl_console},
    {.words = {"completion"},
     .least = 1,
     .most = ARGUMENTS_MAX,
     .arguments = "bash|zsh",
     .brief = "print the completion of a shell",
     .help =
         "Prints the completion of commands, options, and names of classes, hosts, VMs and dead "
         "letters, for a shell to read: put `source <(mayflyctl completion bash)` into "
         "~/.bashrc, or the same with zsh into ~/.zshrc.",
     .example = "completion bash",
     .names = CTL_NAMES_SHELL,
     .run = ctl_completion},
};
const size_t ctl_command_count = COUNT_OF(ctl_commands);

const struct ctl_option ctl_common_options[] = {
    {"--config", "FILE",
     .help = "the deployment's configuration; else the text in MAYFLY_CONFIG, else the "
             "file " CONFIG_DEFAULT_PATH},
    {"--json", .help = "print one JSON value; an error is one JSON object on stderr"},
    {"--help", .help = "print the help of the command, and exit; also -h"},
    {"--version", .help = "print the version, and exit"},
    {.name = NULL},
};
