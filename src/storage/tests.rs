use super::*;
use crate::identity::Choice;

fn resolve(settings: &[(&str, &str)]) -> Result<Address, String> {
    resolve_for(Service::Blob, settings)
}

fn resolve_for(service: Service, settings: &[(&str, &str)]) -> Result<Address, String> {
    let lookup = |name: &str| settings.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
    Address::resolve(service, "Locks", &lookup).map_err(|problem| problem.to_string())
}

fn key() -> &'static str {
    DEVELOPMENT_KEY
}

#[test]
fn resolves_every_form_of_a_connection() {
    for (settings, host, access) in [
        (vec![("Locks", "UseDevelopmentStorage=true")], "127.0.0.1", "shared_key"),
        (
            vec![("Locks", "useDevelopmentStorage=True;DevelopmentStorageProxyUri=http://localhost")],
            "localhost",
            "shared_key",
        ),
        (
            vec![(
                "Locks",
                "DefaultEndpointsProtocol=https;AccountName=abc;AccountKey=a2V5;EndpointSuffix=core.windows.net",
            )],
            "abc.blob.core.windows.net",
            "shared_key",
        ),
        (
            vec![("Locks", "BlobEndpoint=http://127.0.0.1:1/acc;AccountName=acc;AccountKey=a2V5;")],
            "127.0.0.1",
            "shared_key",
        ),
        (
            vec![("Locks", "BlobEndpoint=https://abc.blob.core.windows.net/;SharedAccessSignature=?sv=1&sig=x%3D")],
            "abc.blob.core.windows.net",
            "sas",
        ),
        (vec![("Locks__blobServiceUri", "https://abc.blob.core.windows.net")], "abc.blob.core.windows.net", "entra"),
        (vec![("Locks__accountName", "abc")], "abc.blob.core.windows.net", "entra"),
        (vec![("Locks__serviceUri", "https://abc.blob.core.windows.net")], "abc.blob.core.windows.net", "entra"),
        // Any cloud, and one that nothing here knows.
        (
            vec![("Locks__serviceUri", "https://abc.blob.core.chinacloudapi.cn")],
            "abc.blob.core.chinacloudapi.cn",
            "entra",
        ),
        (vec![("Locks__blobServiceUri", "https://abc.blob.cloud.example")], "abc.blob.cloud.example", "entra"),
        (
            vec![("Locks", "AccountName=abc;AccountKey=a2V5;EndpointSuffix=cloud.example")],
            "abc.blob.cloud.example",
            "shared_key",
        ),
    ] {
        let address = resolve(&settings).expect("a connection");
        assert_eq!((address.host(), address.access()), (host, access), "{settings:?}");
    }
}

#[test]
fn every_problem_names_the_variable() {
    for (settings, name) in [
        (vec![], "Locks"),
        (vec![("Locks", "nonsense")], "Locks"),
        (vec![("Locks", "AccountName=abc")], "Locks"),
        (vec![("Locks", "AccountName=abc;AccountKey=%%%")], "Locks"),
        (vec![("Locks", "AccountName=A B;AccountKey=a2V5")], "Locks"),
        (vec![("Locks", "BlobEndpoint=nowhere;AccountName=abc;AccountKey=a2V5")], "Locks"),
        (vec![("Locks", "BlobEndpoint=http://h/;AccountKey=a2V5")], "Locks"),
        (vec![("Locks__blobServiceUri", "http://abc.blob.core.windows.net")], "Locks__blobServiceUri"),
        (vec![("Locks__accountName", "No Account")], "Locks__accountName"),
        (vec![("Locks__serviceUri", "abc.blob.core.windows.net")], "Locks__serviceUri"),
        (vec![("Locks", "BlobEndpoint=http://abc.blob.core.windows.net/;AccountName=abc;AccountKey=a2V5")], "Locks"),
        (vec![("Locks", "BlobEndpoint=http://10.0.0.4:10000/abc;SharedAccessSignature=sig=x")], "Locks"),
        (vec![("Locks", "DefaultEndpointsProtocol=http;AccountName=abc;AccountKey=a2V5")], "Locks"),
        (vec![("Locks", "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://storage")], "Locks"),
    ] {
        let text = resolve(&settings).expect_err("a problem");
        assert!(text.starts_with(name), "{settings:?}: {text}");
    }
}

#[test]
fn the_hosts_own_connection_has_no_service_uri() {
    let lookup = |name: &str| (name == "AzureWebJobsStorage__serviceUri").then(|| "https://abc.example".to_owned());
    let problem = Address::resolve(Service::Blob, "AzureWebJobsStorage", &lookup).expect_err("blobs and queues");
    assert_eq!(problem.variable, "AzureWebJobsStorage__serviceUri");
    assert!(problem.text.contains("AzureWebJobsStorage__blobServiceUri"), "{problem}");
}

#[test]
fn keys_and_signatures_are_in_no_debug_output() {
    for text in [
        format!("AccountName=abc;AccountKey={}", key()),
        "BlobEndpoint=https://h/;SharedAccessSignature=sig=Eby8".into(),
    ] {
        let address = resolve(&[("Locks", &text)]).expect("a connection");
        assert!(!format!("{address:?}").contains("Eby8"));
    }
}

#[test]
fn resolves_the_queue_service_of_an_account() {
    let emulator = "http://127.0.0.1:10001/devstoreaccount1";
    for (settings, address, access) in [
        (("Locks", "UseDevelopmentStorage=true"), emulator, "shared_key"),
        (
            ("Locks", "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://localhost/"),
            "http://localhost:10001/devstoreaccount1",
            "shared_key",
        ),
        (
            ("Locks", "AccountName=abc;AccountKey=a2V5;EndpointSuffix=core.usgovcloudapi.net"),
            "https://abc.queue.core.usgovcloudapi.net/",
            "shared_key",
        ),
        (
            (
                "Locks",
                "DefaultEndpointsProtocol=https;AccountName=abc;AccountKey=a2V5;BlobEndpoint=http://elsewhere/abc",
            ),
            "https://abc.queue.core.windows.net/",
            "shared_key",
        ),
        (
            ("Locks", "BlobEndpoint=http://b/a;QueueEndpoint=http://127.0.0.1:2/a;AccountName=a;AccountKey=a2V5"),
            "http://127.0.0.1:2/a",
            "shared_key",
        ),
        (("Locks", "QueueEndpoint=https://q/;SharedAccessSignature=sv=1&sig=x%3D"), "https://q/", "sas"),
        (
            ("Locks__queueServiceUri", "https://abc.queue.core.windows.net"),
            "https://abc.queue.core.windows.net/",
            "entra",
        ),
        (("Locks__accountName", "abc"), "https://abc.queue.core.windows.net/", "entra"),
    ] {
        let found = resolve_for(Service::Queue, &[settings]).expect("a connection");
        assert_eq!((found.service.as_str(), found.access()), (address, access), "{settings:?}");
    }
}

#[test]
fn problems_with_queues_name_what_queues_need() {
    let problem = |settings: &[(&str, &str)]| resolve_for(Service::Queue, settings).expect_err("a problem");
    let nothing = problem(&[]);
    assert!(nothing.contains("Locks__queueServiceUri") && !nothing.contains("blob"), "{nothing}");
    let other = problem(&[("Locks__blobServiceUri", "https://abc.blob.core.windows.net")]);
    assert!(other.contains("Locks__queueServiceUri"), "blobs alone are not enough: {other}");
    let only_blobs = problem(&[("Locks", "BlobEndpoint=https://b/;SharedAccessSignature=sig=x")]);
    assert!(only_blobs.contains("QueueEndpoint"), "{only_blobs}");
}

#[test]
fn a_queue_url_has_its_name_and_the_signature() {
    let http = Http::new().expect("the settings are valid");
    let identity = Arc::new(Identity::open(Choice::DeveloperTools, &http).expect("there are no settings"));
    for (text, address) in [
        ("QueueEndpoint=https://q/;SharedAccessSignature=?sv=1&sig=x%3D", "https://q/letters?sv=1&sig=x%3D"),
        ("QueueEndpoint=http://127.0.0.1:2/a/;AccountName=a;AccountKey=a2V5", "http://127.0.0.1:2/a/letters"),
    ] {
        let found = resolve_for(Service::Queue, &[("Locks", text)]).expect("a connection");
        let connection = Connection::new(found, identity.clone(), &http);
        assert_eq!(connection.url("letters").as_str(), address);
        assert!(connection.credential().is_none());
    }
}
