//! Which runtimes the suite runs against, and where the other ones are known to differ from the specification.

use std::path::Path;

/// The runtime under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Keg,
    Runc,
    Crun,
}

impl Kind {
    /// By the name of the binary: everything that is neither runc nor crun is keg.
    pub fn of(binary: &Path) -> Self {
        match binary.file_name().and_then(|name| name.to_str()) {
            Some("runc") => Self::Runc,
            Some("crun") => Self::Crun,
            _ => Self::Keg,
        }
    }
}

const OWN_WORDS: &str = "its errors have other words than those that runc's callers match";

const ATIME: &str = "the recursive access time modes are refused by the kernel";

const RELATIVE_PLACES: &str = "names the place without its slash";

const FROZEN: &str = "does not thaw, so that nobody dies";

const KEEPS_PARENTS: &str = "leaves the directories above the cgroup";

const REMOVES_ALL: &str = "removes every cgroup that it used";

const NO_TIME: &str = "time namespaces are not supported, or fail on this kernel";

/// A test that does not fire where there is something to find proves nothing.
const CONTROL: &str = "vulnerable: this is the test's positive control";

const LEAVES_MOUNTS: &str = "leaves the mounts of a container without a mount namespace";

/// Tests that a peer of the versions in Debian 12 (runc 1.1.5, crun 1.8.1) fails, and why.
pub const DEVIATIONS: &[(Kind, &str, &str)] = &[
    (
        Kind::Crun,
        "mount_options::a_directory_is_not_mounted_on_a_file_and_a_file_not_on_a_directory",
        RELATIVE_PLACES,
    ),
    (Kind::Crun, "mount_options::a_remount_that_the_file_system_refuses_is_an_error", RELATIVE_PLACES),
    (
        Kind::Crun,
        "mount_options::a_tmpfs_has_the_mode_of_what_it_covers_unless_it_is_given_one",
        "its mode is always 1777",
    ),
    (Kind::Crun, "mount_options::recursive_options_are_of_all_mounts_below_too", ATIME),
    (Kind::Crun, "mount_options::recursive_options_clear_what_the_source_has", ATIME),
    (Kind::Runc, "mount_options::recursive_options_clear_what_the_source_has", ATIME),
    (Kind::Crun, "mount_options::the_last_of_contrary_options_counts", "a flag once set is not cleared"),
    (
        Kind::Crun,
        "user_namespaces::a_sysfs_without_a_network_namespace_of_its_own_is_the_hosts",
        "loses the flags of the mount",
    ),
    (
        Kind::Runc,
        "user_namespaces::a_sysfs_without_a_network_namespace_of_its_own_is_the_hosts",
        "the kernel refuses it a sysfs",
    ),
    (Kind::Runc, "user_namespaces::flags_that_the_host_has_locked_stay", "a remount fails"),
    (Kind::Runc, "mount_options::the_last_of_contrary_options_counts", "strictatime stays"),
    (Kind::Crun, "user_namespaces::flags_that_the_host_has_locked_stay", "clears them before it is inside"),
    (Kind::Crun, "cgroup_limits::a_cpu_that_is_not_there_is_an_error", "leaves the cgroup"),
    (Kind::Crun, "cgroup_limits::block_io", "knows the file of the CFQ scheduler only"),
    (Kind::Crun, "cgroup_limits::no_process_limit", "writes -1, which the kernel refuses"),
    (
        Kind::Crun,
        "cgroup_limits::without_any_rule_the_usual_devices_work_and_others_do_not",
        "an empty list allows everything",
    ),
    (Kind::Crun, "cgroup_lifetime::a_cgroup_that_was_there_stays", REMOVES_ALL),
    (Kind::Runc, "cgroup_lifetime::a_cgroup_that_was_there_stays", REMOVES_ALL),
    (Kind::Crun, "cgroup_lifetime::a_cgroup_with_processes_is_refused_and_left_alone", "shares it"),
    (Kind::Runc, "cgroup_lifetime::a_cgroup_with_processes_is_refused_and_left_alone", "only warns"),
    (Kind::Crun, "cgroup_lifetime::a_failed_create_removes_what_it_made_and_nothing_else", KEEPS_PARENTS),
    (Kind::Runc, "cgroup_lifetime::a_failed_create_removes_what_it_made_and_nothing_else", KEEPS_PARENTS),
    (Kind::Crun, "cgroup_lifetime::a_frozen_cgroup_is_refused_and_so_is_a_place_in_one", "hangs"),
    (Kind::Runc, "cgroup_lifetime::a_frozen_cgroup_is_refused_and_so_is_a_place_in_one", "hangs"),
    (Kind::Crun, "cgroup_lifetime::a_relative_path_starts_at_the_callers_cgroup", "starts at the root"),
    (Kind::Crun, "cgroup_lifetime::delete_force_ends_a_container_that_is_frozen_in_parts", FROZEN),
    (Kind::Runc, "cgroup_lifetime::delete_force_ends_a_container_that_is_frozen_in_parts", FROZEN),
    (Kind::Crun, "cgroup_lifetime::parents_that_were_made_are_removed_with_the_container", KEEPS_PARENTS),
    (Kind::Runc, "cgroup_lifetime::parents_that_were_made_are_removed_with_the_container", KEEPS_PARENTS),
    (Kind::Crun, "command_line::every_command_has_help", "knows --help but not -h"),
    (Kind::Crun, "command_line::a_pid_file_that_cannot_be_written_fails_create", OWN_WORDS),
    (
        Kind::Crun,
        "command_line::flags_come_with_one_dash_or_two_and_with_an_equals_sign",
        "flags in GNU style only",
    ),
    (
        Kind::Crun,
        "command_line::list_shows_containers_as_table_json_and_names",
        "lists in the order of the directory",
    ),
    (Kind::Crun, "command_line::spec_rootless_has_a_user_namespace", "keeps the network namespace"),
    (
        Kind::Crun,
        "command_line::spec_writes_a_config_that_runs_and_refuses_to_overwrite",
        "indents with spaces",
    ),
    (
        Kind::Crun,
        "command_line::the_pid_file_is_decimal_without_a_newline_and_relative_to_the_caller",
        "relative to the bundle",
    ),
    (Kind::Crun, "console::a_terminal_needs_somebody_to_take_it", OWN_WORDS),
    (Kind::Crun, "console::exec_joins_a_terminal_to_the_callers", "its size is 0 at first"),
    (Kind::Runc, "console::sockets_are_relative_to_the_caller_as_documents_are", "relative to the bundle"),
    (Kind::Crun, "console::sockets_are_relative_to_the_caller_as_documents_are", "relative to the bundle"),
    (Kind::Crun, "console::exec_sends_a_terminal_too", "it belongs to root"),
    (Kind::Crun, "console::run_joins_the_containers_terminal_to_the_callers", "its size is 0 at first"),
    (Kind::Crun, "console::the_name_of_the_master_comes_with_it", "sends a space"),
    (Kind::Crun, "console::the_size_follows_that_of_the_callers_terminal", "its size is 0"),
    (Kind::Crun, "events::stats_have_the_shape_that_clients_parse", "has no events"),
    (Kind::Crun, "exec::a_cgroup_inside_the_containers_can_be_named", "knows version 2 only"),
    (Kind::Crun, "exec::a_failure_leaves_no_pid_file", OWN_WORDS),
    (Kind::Crun, "exec::a_stopped_container_is_not_joined_and_a_created_one_is", OWN_WORDS),
    (Kind::Crun, "exec::a_wrong_document_is_refused", "the status is 1"),
    (Kind::Crun, "exec::capabilities_are_added_but_never_inheritable", "they replace the container's"),
    (Kind::Crun, "exec::groups_are_added_to_those_of_the_container", "has no such flag"),
    (Kind::Crun, "exec::short_flags_mean_what_the_long_ones_do", "has no --additional-gids"),
    (Kind::Crun, "exec::the_process_is_given_what_the_containers_own_has", "its working directory is /"),
    (Kind::Crun, "exec::the_program_is_searched_in_the_path_of_the_process", OWN_WORDS),
    (Kind::Crun, "exec::the_working_directory_must_be_there", OWN_WORDS),
    (Kind::Crun, "exec::users_are_numbers_and_nothing_else", "CVE-2026-30892: a positive control"),
    (Kind::Runc, "exec::users_are_numbers_and_nothing_else", "4294967296 is root: a positive control"),
    (Kind::Crun, "exec::variables_are_added_and_the_last_of_a_name_wins", "they replace the container's"),
    (Kind::Crun, "exec::what_cannot_be_run_is_named_as_callers_know_it", OWN_WORDS),
    (Kind::Crun, "exit_codes::a_missing_program_fails_create", OWN_WORDS),
    (Kind::Crun, "exit_codes::run_keep_leaves_a_stopped_container", "has no --keep"),
    (Kind::Crun, "lifecycle::commands_on_a_missing_container_say_so", OWN_WORDS),
    (Kind::Crun, "lifecycle::delete_needs_a_stopped_container", OWN_WORDS),
    (Kind::Crun, "lifecycle::kill_of_a_stopped_container_says_not_running", OWN_WORDS),
    (Kind::Crun, "lifecycle::signal_0_asks_whether_there_is_a_process", OWN_WORDS),
    (Kind::Crun, "lifecycle::start_needs_a_created_container", OWN_WORDS),
    (
        Kind::Crun,
        "lifecycle::state_has_every_field_that_callers_read",
        "rootfs as it is written in config.json",
    ),
    (Kind::Crun, "logs::a_failure_is_one_json_object_in_the_log_and_one_line_on_stderr", OWN_WORDS),
    (Kind::Crun, "logs::a_text_log_has_the_message", OWN_WORDS),
    (Kind::Runc, "namespaces::a_time_namespace_is_new", NO_TIME),
    (Kind::Runc, "namespaces::a_time_namespace_with_a_path_is_joined", NO_TIME),
    (Kind::Runc, "namespaces::time_offsets_are_seen_inside", NO_TIME),
    (Kind::Crun, "namespaces::a_time_namespace_is_new", NO_TIME),
    (Kind::Crun, "namespaces::a_time_namespace_with_a_path_is_joined", NO_TIME),
    (Kind::Crun, "namespaces::time_offsets_are_seen_inside", NO_TIME),
    (
        Kind::Crun,
        "process::orphans_are_adopted_in_the_foreground_unless_the_caller_does_that",
        "adopts them all the same",
    ),
    (Kind::Crun, "process::a_wrong_working_directory_is_refused", "reports it in start"),
    (Kind::Crun, "process::home_comes_from_the_containers_passwd", "no HOME for an unknown user"),
    (Kind::Runc, "user_namespaces::a_user_namespace_is_joined_and_the_rest_is_new", "wants mappings too"),
    (Kind::Runc, "host_name::the_domain_name_is_set", "has no domain name"),
    (Kind::Runc, "schedule::the_execution_domain_is_the_programs", "has no personality"),
    (Kind::Runc, "mounts::root_propagation_is_applied", "the root is private after the pivot"),
    (Kind::Crun, "mounts::a_destination_through_links_stays_inside_the_root", "refuses a dangling link"),
    (Kind::Crun, "mounts::propagation_of_one_mount_is_applied", "makes all mounts private first"),
    (Kind::Crun, "cgroups::an_impossible_limit_is_an_error_and_leaves_nothing", "leaves the cgroup"),
    (Kind::Runc, "hooks::all_six_run_in_their_order", "poststart runs in create"),
    (
        Kind::Runc,
        "hooks::create_container_hooks_see_the_bundle_and_start_container_hooks_the_root",
        "cwd is the root",
    ),
    (Kind::Runc, "hooks::hooks_get_the_state_on_stdin", "prestart sees `creating`, poststart `created`"),
    (Kind::Runc, "hooks::a_hook_that_takes_too_long_is_killed_with_its_children", "waits for the children"),
    (Kind::Crun, "hooks::a_failing_hook_before_start_fails_create", "exit status 255"),
    (Kind::Crun, "hooks::a_missing_hook_is_named", "exit status 255"),
    (Kind::Crun, "hooks::poststop_hooks_run_when_create_or_run_fails", "none run"),
    (Kind::Crun, "hooks::poststop_hooks_run_without_the_bundle", "ends by SIGPIPE"),
    (Kind::Crun, "hooks::hooks_get_the_state_on_stdin", "the pid is the host's everywhere"),
    (Kind::Crun, "bad_input::a_bad_id", "takes any file name"),
    (Kind::Crun, "bad_input::a_state_directory_that_cannot_be_written", OWN_WORDS),
    (Kind::Crun, "bad_input::an_existing_id", OWN_WORDS),
    (Kind::Crun, "bad_input::an_unknown_signal", "takes it for 0"),
    (Kind::Runc, "security::host_mounts::a_root_that_is_a_mount_of_the_host_stays", LEAVES_MOUNTS),
    (Kind::Crun, "security::host_mounts::a_root_that_is_a_mount_of_the_host_stays", LEAVES_MOUNTS),
    (Kind::Crun, "security::descriptors::cve_2024_21626", CONTROL),
    (Kind::Crun, "security::dev::cve_2026_88264", CONTROL),
    (Kind::Crun, "security::host_mounts::cve_2023_25809", CONTROL),
    (
        Kind::Crun,
        "security::exec::cve_2022_29162",
        "--cap replaces the capabilities of the container's process",
    ),
    (Kind::Crun, "security::exec::cve_2024_21626", CONTROL),
    (Kind::Runc, "security::exec::cve_2026_30892", "takes +1 for a number"),
    (Kind::Crun, "security::exec::cve_2026_30892", CONTROL),
    (Kind::Runc, "security::masks::cve_2025_31133", CONTROL),
    (Kind::Crun, "security::masks::cve_2025_31133", CONTROL),
    (Kind::Runc, "security::masks::cve_2025_62161", CONTROL),
    (Kind::Crun, "security::masks::cve_2025_62161", CONTROL),
    (Kind::Runc, "security::proc_and_sys::cve_2019_16884", CONTROL),
    (Kind::Crun, "security::proc_and_sys::cve_2019_16884", CONTROL),
    (Kind::Crun, "security::proc_and_sys::cve_2019_19921", CONTROL),
    (Kind::Runc, "security::proc_and_sys::cve_2025_52881", CONTROL),
    (Kind::Crun, "security::proc_and_sys::cve_2022_0811", CONTROL),
    (Kind::Crun, "security::privileges::cve_2016_3697", "takes text for a number"),
    (Kind::Runc, "security::links::cve_2026_41579", CONTROL),
    (Kind::Crun, "security::links::cve_2026_41579", CONTROL),
    (Kind::Crun, "pause::a_paused_container_is_killed_at_once", FROZEN),
    (Kind::Crun, "pause::ps_of_a_container_that_has_ended_lists_who_lives_on", "ends by SIGSEGV"),
    (
        Kind::Crun,
        "pause::what_is_not_running_cannot_be_paused_and_what_is_not_paused_not_resumed",
        "resumes what runs",
    ),
    (Kind::Crun, "update::a_document_comes_from_a_file_or_from_standard_input", OWN_WORDS),
    (Kind::Crun, "update::only_a_container_that_lives_has_limits_to_change", OWN_WORDS),
    (Kind::Runc, "service::a_manager_hears_that_the_container_is_ready_and_who_it_is", "sends no BARRIER"),
    (
        Kind::Runc,
        "service::in_the_foreground_the_main_process_is_the_runtime",
        "waits for ever for a word that never comes",
    ),
    (Kind::Crun, "service::a_manager_hears_that_the_container_is_ready_and_who_it_is", "sends no MAINPID"),
    (
        Kind::Crun,
        "service::in_the_foreground_the_main_process_is_the_runtime",
        "tells nothing in the foreground",
    ),
    (
        Kind::Crun,
        "service::listening_sockets_are_passed_on_before_other_descriptors",
        "the container's own variable wins",
    ),
    (Kind::Crun, "stress::of_parallel_creates_of_one_id_exactly_one_wins", OWN_WORDS),
    (
        Kind::Crun,
        "rootless::a_limit_without_a_delegated_cgroup_is_an_error_that_says_so",
        "goes on without the limit",
    ),
    (Kind::Runc, "rootless::subordinate_ids_are_mapped", "no additional groups without root"),
];

/// Tests that a peer fails now and then.
pub const UNSTEADY: &[(Kind, &str, &str)] = &[
    (Kind::Runc, "stress::of_parallel_creates_of_one_id_exactly_one_wins", "several can win"),
    (Kind::Runc, "security::races::cve_2024_45310", CONTROL),
    (Kind::Runc, "security::races::cve_2024_45310_of_a_file_in_slow_motion", CONTROL),
];

/// The reason of a row for this runtime and test.
pub(crate) fn reason(rows: &[(Kind, &str, &'static str)], kind: Kind, test: &str) -> Option<&'static str> {
    rows.iter().find(|(of, name, _)| *of == kind && *name == test).map(|(_, _, reason)| *reason)
}
