# What the goldens beside this file were made of, by Nix 2.8.0:
#
#   nix-instantiate derivations.nix                        derivations.ts: the .drv files of all attributes
#   nix-build derivations.nix -A realised                  realisations.ts
#   nix-build derivations.nix -A structured                attributes.ts: what is in its output
#
# with `sandbox = true`, `sandbox-paths = /bin/sh=<static busybox>` and the experimental features ca-derivations and
# impure-derivations, in a store of its own.
let
  plain = attributes: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // attributes);
  make = name: script: more: plain ({ inherit name; args = [ "-e" "-c" script ]; } // more);
  addressed = { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
in rec {
  odd = plain { name = "odd+name._?=-x"; a = "q\"uote \\ back\nnew\r\ttab \${x} ünï 💩"; "weird name" = ""; args = [ "" "\"" "\\n" ]; };
  multi = plain { name = "multi"; outputs = [ "z" "out" "a-1" ]; };

  md5 = plain { name = "md5"; outputHash = "d41d8cd98f00b204e9800998ecf8427e"; outputHashAlgo = "md5"; outputHashMode = "recursive"; };
  sha1 = plain { name = "sha1"; outputHash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"; outputHashAlgo = "sha1"; };
  sha256 = plain { name = "sha256"; outputHash = builtins.hashString "sha256" ""; outputHashAlgo = "sha256"; outputHashMode = "recursive"; };
  sha512 = plain { name = "sha512"; outputHash = builtins.hashString "sha512" ""; outputHashAlgo = "sha512"; };

  # Two derivations of one fixed output, and one that uses both.
  here = plain { name = "same"; from = "here"; outputHash = builtins.hashString "sha256" "x"; outputHashAlgo = "sha256"; };
  there = plain { name = "same"; from = "there"; outputHash = builtins.hashString "sha256" "x"; outputHashAlgo = "sha256"; };
  user = plain { name = "user"; inherit here there; inputs = [ md5 sha1 sha256 sha512 odd ]; z = multi.z; a = multi."a-1"; };
  text = plain { name = "text"; text = builtins.toFile "text" "hello"; user = builtins.unsafeDiscardOutputDependency user.drvPath; };

  ca = make "ca" "echo content > $out" addressed;
  caFlat = make "ca-flat" "echo flat > $out" (addressed // { outputHashMode = "flat"; });
  caSelf = make "ca-self" "echo $out and $out > $out" addressed;
  caUser = make "ca-user" "echo ${ca} ${caFlat} ${caSelf} > $out" addressed;
  deferred = make "deferred" "echo ${caUser} ${odd.drvPath} > $out" { };
  impure = plain { name = "impure"; __impure = true; };
  impureUser = plain { name = "impure-user"; __impure = true; inherit impure; };

  # Its output is what the builder was given: .attrs.json on one line, then .attrs.sh.
  structured = make "structured" ''
    IFS= read -r json < .attrs.json || true
    rest=''${json#*\"outputs\":\{\"dev\":\"}
    dev=''${rest%%\"*}
    rest=''${rest#*\"out\":\"}
    out=''${rest%%\"*}
    printf '%s\n' "$json" > $out
    while IFS= read -r line; do printf '%s\n' "$line"; done < .attrs.sh >> $out
    echo > $dev
  '' {
    __structuredAttrs = true;
    outputs = [ "out" "dev" ];
    str = "it's \"quoted\" \\ back\n tab\t ünï 💩 \${x}";
    int = 42; neg = -7; big = 9007199254740993; float = 1.5; whole = 2.0; tiny = 1.0e-7; huge = 1.0e300; yes = true; no = false; nothing = null;
    list = [ 1 "a b" true null 2.0 "it's" ]; mixed = [ 1 [ 2 ] ]; empty = [ ]; fraction = [ 1.5 ];
    attrsEmpty = { }; map = { a = 1; "b c" = "x y"; t = true; n = null; f = 3.0; }; deep = { a.b = 1; };
    "bad-name" = 1; "1x" = 2; _ok = "u"; "__proto__" = "p"; "10" = 1; "9" = 2; keys = { "10" = 1; "9" = 2; "é" = 3; z = 4; "\${weird}" = 5; };
    self = builtins.placeholder "dev";
    ctrl = builtins.fromJSON "\"a\\u0001\\u001b\\u2028\\u007fb\"";
    numbers = builtins.fromJSON "[0.1, 100000.0, 1e15, 1e16, 1e17, 123456789.125, -0.0, 1e-5, 0.0001, 3.14159265358979, 1234567890123456789, -5e-324, 1.7976931348623157e308]";
    exportReferencesGraph.graph = [ (builtins.toFile "text" "hello") ];
  };

  realised = [ ca caFlat caSelf caUser ];
}
