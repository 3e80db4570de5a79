//! A containerd with its CRI plugin, and the calls that a kubelet makes.

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use harness::command::patience;
use harness::{Daemon, Driver, Runtime, docs, json, wait_until};
use k8s_cri::v1;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

pub const SOON: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(120);

/// The handler that the page on containerd sets up.
pub const HANDLER: &str = "keg";

/// A containerd with the small image and one for sandboxes. It is stopped when dropped.
pub struct Plugin<'a> {
    daemon: Option<Daemon>,
    words: Vec<String>,
    pub rt: &'a Runtime,
    client: RuntimeServiceClient<Channel>,
    executor: tokio::runtime::Runtime,
}

impl<'a> Plugin<'a> {
    pub fn start(rt: &'a Runtime) -> Self {
        let this = Self::start_with(rt, "containerd", &configuration(rt));
        this.import();
        this
    }

    /// Whatever talks CRI, by its configuration.
    pub fn start_with(rt: &'a Runtime, program: &str, configuration: &str) -> Self {
        harness::caller::hide_var_lib();
        fs::create_dir(rt.dir().join("cni")).unwrap();
        fs::write(rt.dir().join("cni/10-pods.conflist"), network().to_string()).unwrap();
        let file = rt.dir().join("config.toml");
        fs::write(&file, configuration).unwrap();
        let words = [program, "--config", &file.display().to_string()].map(str::to_owned).to_vec();
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = format!("unix://{}", rt.dir().join("sock").display());
        let client = executor.block_on(async { Endpoint::from_shared(address).unwrap().connect_lazy() });
        let mut this = Self { daemon: None, words, rt, client: RuntimeServiceClient::new(client), executor };
        this.up();
        this
    }

    fn import(&self) {
        let rt = self.rt;
        for name in ["small", "pause"] {
            let layout = harness::runtime::target().join("images").join(name);
            let tar = rt.dir().join("image.tar").display().to_string();
            rt.program(&["tar", "-C", &layout.display().to_string(), "-cf", &tar, "."])
                .limit(LIMIT)
                .run()
                .ok();
            let image = format!("keg.test/{name}");
            let socket = rt.dir().join("sock").display().to_string();
            let words = ["ctr", "--address", &socket, "--namespace", "k8s.io", "image", "import"];
            rt.program(&[&words[..], &["--base-name", &image, &tar]].concat()).limit(LIMIT).run().ok();
        }
    }

    /// Starts the daemon, again where it was stopped, and waits until it and the network are ready.
    pub fn up(&mut self) {
        let ready = || {
            let answer =
                self.call(|mut c| async move { c.status(v1::StatusRequest { verbose: false }).await });
            answer.is_ok_and(|status| status.status.unwrap().conditions.iter().all(|c| c.status))
        };
        let words: Vec<_> = self.words.iter().map(String::as_str).collect();
        self.daemon = Some(Daemon::start(self.rt, &words, ready));
    }

    pub fn down(&mut self) {
        drop(self.daemon.take());
    }

    /// One request, answered within the limit.
    pub fn call<T, F>(&self, request: impl FnOnce(RuntimeServiceClient<Channel>) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let client = self.client.clone();
        let answer = async { tokio::time::timeout(patience(LIMIT), request(client)).await };
        match self.executor.block_on(answer) {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => panic!("no answer after {LIMIT:?}"),
        }
    }

    pub fn run_pod(&self, handler: &str, config: &v1::PodSandboxConfig) -> Result<String, Status> {
        let request =
            v1::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: handler.to_owned() };
        self.call(|mut c| async move { c.run_pod_sandbox(request).await }).map(|done| done.pod_sandbox_id)
    }

    pub fn create(
        &self,
        pod: &str,
        of: &v1::PodSandboxConfig,
        config: v1::ContainerConfig,
    ) -> Result<String, Status> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config),
            sandbox_config: Some(of.clone()),
        };
        self.call(|mut c| async move { c.create_container(request).await }).map(|done| done.container_id)
    }

    pub fn start_container(&self, id: &str) -> Result<(), Status> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        self.call(|mut c| async move { c.start_container(request).await }).map(|_| ())
    }

    /// Creates and starts a container.
    #[track_caller]
    pub fn run(&self, pod: &str, of: &v1::PodSandboxConfig, config: v1::ContainerConfig) -> String {
        let id = self.create(pod, of, config).unwrap();
        self.start_container(&id).unwrap();
        id
    }

    pub fn exec(&self, id: &str, script: &str) -> v1::ExecSyncResponse {
        self.exec_words(id, &["/bin/sh", "-c", script], 0).unwrap()
    }

    pub fn exec_words(&self, id: &str, words: &[&str], seconds: i64) -> Result<v1::ExecSyncResponse, Status> {
        let cmd = words.iter().map(|&word| word.to_owned()).collect();
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: seconds };
        self.call(|mut c| async move { c.exec_sync(request).await })
    }

    pub fn status(&self, id: &str) -> v1::ContainerStatus {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        self.call(|mut c| async move { c.container_status(request).await }).unwrap().status.unwrap()
    }

    /// Waits for the end of a container: its exit code and the reason.
    pub fn wait(&self, id: &str) -> (i32, String) {
        let exited = v1::ContainerState::ContainerExited as i32;
        wait_until("the container has ended", SOON, || self.status(id).state == exited);
        let status = self.status(id);
        (status.exit_code, status.reason)
    }

    /// The pid of a container or sandbox, as the runtime has it that runs it.
    pub fn pid(&self, id: &str) -> i32 {
        let binary = self.rt.binary().display().to_string();
        let words = [&binary, "--root", "/run/containerd/runc/k8s.io", "state", id];
        let state = self.rt.program(&words).limit(SOON).run().ok().json();
        state["pid"].as_i64().unwrap() as i32
    }

    pub fn stop(&self, id: &str, seconds: i64) -> Result<(), Status> {
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout: seconds };
        self.call(|mut c| async move { c.stop_container(request).await }).map(|_| ())
    }

    pub fn remove(&self, id: &str) -> Result<(), Status> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        self.call(|mut c| async move { c.remove_container(request).await }).map(|_| ())
    }

    pub fn stop_pod(&self, pod: &str) {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: pod.to_owned() };
        self.call(|mut c| async move { c.stop_pod_sandbox(request).await }).unwrap();
    }

    /// Stops and removes a pod with everything in it.
    pub fn remove_pod(&self, pod: &str) {
        self.stop_pod(pod);
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: pod.to_owned() };
        self.call(|mut c| async move { c.remove_pod_sandbox(request).await }).unwrap();
    }

    /// What a container wrote to its log: lines of `TIME STREAM TAG text`.
    pub fn log(&self, name: &str) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.logs().join(name)).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.splitn(4, ' ').skip(1);
            let stream = words.next().unwrap_or_default().to_owned();
            (stream, words.nth(1).unwrap_or_default().to_owned())
        };
        text.lines().map(line).collect()
    }

    /// The address of a pod on its network.
    pub fn address(&self, pod: &str) -> String {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: pod.to_owned(), verbose: false };
        let status = self.call(|mut c| async move { c.pod_sandbox_status(request).await }).unwrap();
        status.status.unwrap().network.unwrap().ip
    }

    /// The containers and pods that there are.
    pub fn list(&self) -> Vec<String> {
        let request = v1::ListContainersRequest { filter: None };
        let containers = self.call(|mut c| async move { c.list_containers(request).await }).unwrap();
        let request = v1::ListPodSandboxRequest { filter: None };
        let pods = self.call(|mut c| async move { c.list_pod_sandbox(request).await }).unwrap();
        let containers = containers.containers.into_iter().map(|one| one.id);
        containers.chain(pods.items.into_iter().map(|one| one.id)).collect()
    }

    fn logs(&self) -> PathBuf {
        self.rt.dir().join("logs")
    }

    /// A pod of that name: a hostname, a directory for logs, a cgroup of this test.
    pub fn pod(&self, name: &str) -> v1::PodSandboxConfig {
        fs::create_dir_all(self.logs()).unwrap();
        let namespaces =
            v1::NamespaceOption { pid: v1::NamespaceMode::Container as i32, ..Default::default() };
        let security =
            v1::LinuxSandboxSecurityContext { namespace_options: Some(namespaces), ..Default::default() };
        let linux = v1::LinuxPodSandboxConfig {
            cgroup_parent: match self.rt.driver() {
                Driver::Cgroupfs => self.rt.cgroup_prefix(),
                Driver::Systemd => "/system.slice".to_owned(),
            },
            security_context: Some(security),
            ..Default::default()
        };
        v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: "tests".to_owned(),
                attempt: 0,
            }),
            hostname: format!("host-{name}"),
            log_directory: self.logs().display().to_string(),
            linux: Some(linux),
            ..Default::default()
        }
    }
}

/// A container of the small image that runs a shell script, in the namespaces of its pod.
pub fn container(name: &str, script: &str) -> v1::ContainerConfig {
    let image = "keg.test/small:latest".to_owned();
    let namespaces = v1::NamespaceOption { pid: v1::NamespaceMode::Container as i32, ..Default::default() };
    let security =
        v1::LinuxContainerSecurityContext { namespace_options: Some(namespaces), ..Default::default() };
    let linux = v1::LinuxContainerConfig {
        resources: Some(v1::LinuxContainerResources::default()),
        security_context: Some(security),
    };
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(v1::ImageSpec {
            image: image.clone(),
            user_specified_image: image,
            ..Default::default()
        }),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: format!("{name}.log"),
        linux: Some(linux),
        ..Default::default()
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What callers tell errors apart by: the code, and the first of the words that they look for.
pub fn class(error: &Status) -> String {
    let words = [
        "no such file or directory",
        "executable file not found in $PATH",
        "permission denied",
        "is a directory",
        "not a directory",
        "not found",
        "timeout",
        "deadline exceeded",
        "is in CONTAINER_EXITED state",
        "no runtime for",
    ];
    let found = words.into_iter().find(|&word| error.message().contains(word));
    format!("{:?} {found:?}", error.code())
}

/// What a page tells people to write, with another path of the binary, and the surroundings of a test.
fn configuration(rt: &Runtime) -> String {
    let page = docs::block("containerd.md", "toml", "runtimes.keg");
    let handler = page.replace(docs::INSTALLED, &rt.binary().display().to_string());
    let handler = handler.trim_start().strip_prefix("version = 2").expect("the page names its version");
    // As the page says: an option of the handler.
    let by_systemd = match rt.driver() {
        Driver::Cgroupfs => "",
        Driver::Systemd => "      SystemdCgroup = true\n",
    };
    let directory = rt.dir().display();
    let runc = harness::runtime::find("runc");
    format!(
        r#"version = 2
root = "{directory}/containerd"
state = "{directory}/state"
[debug]
  level = "warn"
[grpc]
  address = "{directory}/sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "keg.test/pause:latest"
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{}"
{by_systemd}{handler}{by_systemd}"#,
        runc.display()
    )
}

/// A bridge in the test's own network namespace.
fn network() -> harness::Value {
    let ipam = json!({"type": "host-local", "dataDir": "/var/lib/cni/networks",
        "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]});
    json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "ipam": ipam}]})
}
