//! `keg inspect`, beside what skopeo says of the same layout.

use harness::{Value, with_runtime};

use super::{images, unpacks};

#[test]
fn an_image_for_people_and_for_programs() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let layout = images().join("small").display().to_string();
        let manifest: Value =
            rt.program(&["skopeo", "inspect", "--raw", &format!("oci:{layout}:latest")]).run().ok().json();
        let config: Value =
            rt.program(&["skopeo", "inspect", "--config", &format!("oci:{layout}:latest")]).run().ok().json();
        let found = rt.command(&["inspect", "--json", &layout]).run().ok().json();
        let image = &found["entries"][0];
        assert_eq!((&image["name"], &image["kind"]), (&"latest".into(), &"image".into()), "{found:#}");
        let of = |layers: &Value, field: &str| -> Vec<Value> {
            layers.as_array().unwrap().iter().map(|layer| layer[field].clone()).collect()
        };
        for field in ["digest", "mediaType", "size"] {
            assert_eq!(of(&image["layers"], field), of(&manifest["layers"], field));
        }
        let platform =
            format!("{}/{}", config["os"].as_str().unwrap(), config["architecture"].as_str().unwrap());
        assert_eq!(image["platform"], platform);
        assert_eq!(image["config"]["env"], config["config"]["Env"]);

        let text = rt.command(&["inspect", &format!("{layout}:latest")]).run().ok().stdout();
        let digest = image["digest"].as_str().unwrap();
        assert!(text.starts_with(&format!("latest: image for {platform} {digest}\n")), "{text}");
        for layer in of(&manifest["layers"], "digest") {
            assert!(text.contains(layer.as_str().unwrap()), "{text}");
        }
        rt.command(&["inspect", &format!("{layout}:other")])
            .run()
            .fails_with("nothing in the layout is called so");
    });
}
