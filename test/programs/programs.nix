# Programs that people use, compiled in the plain Nix sandbox: no nixpkgs, and nothing but what `directory` holds.
#
#     debs/ARCH/*.deb   Debian's compiler and what it takes to run it, each an input of its own
#     sources/          the programs' sources, as Debian has them
#
# A toolchain is Debian's packages in one tree, every program of it made to run from there by patchelf, which runs on
# x86_64 for either architecture: so the toolchain of the other one is made without emulating anything.
# A seed makes a build that nobody has made before.
{ directory, busybox, seed ? "" }:
let
  entries = place: builtins.attrNames (builtins.readDir (directory + "/${place}"));
  spelled = builtins.replaceStrings [ "%3a" ":" "~" ] [ "-" "-" "-" ];
  taken = place: name: builtins.path { path = directory + "/${place}/${name}"; name = spelled name; };
  # It goes by its own name.
  tools = builtins.path { path = dirOf busybox; name = "busybox"; filter = path: type: baseNameOf path == "busybox"; };

  kinds = {
    x86_64 = { triple = "x86_64-linux-gnu"; loader = "usr/lib64/ld-linux-x86-64.so.2"; };
    aarch64 = { triple = "aarch64-linux-gnu"; loader = "usr/lib/ld-linux-aarch64.so.1"; };
  };

  toolchainOf = arch: with kinds.${arch}; derivation {
    name = "toolchain-${arch}";
    system = "x86_64-linux";
    builder = "${tools}/busybox";
    shell = "${tools}/busybox";
    inherit triple loader;
    debs = map (taken "debs/${arch}") (entries "debs/${arch}");
    # Its own, once it is unpacked; or that of the one which runs here.
    patcher = if arch == "x86_64" then "" else toolchainOf "x86_64";
    args = [ "sh" "-e" "-c" ''
      alias() { for name; do eval "$name() { $shell $name \"\$@\"; }"; done; }
      alias ar cat chmod cp cut find grep head ln mkdir mv od readlink rm sed sort tar tr uname
      mkdir $out unpacked
      for deb in $debs; do
        cd unpacked; ar x $deb
        tar xJf data.tar.xz -C $out
        cd ..; rm -r unpacked; mkdir unpacked
      done
      cd $out
      # One tree, whichever way a package spells it.
      for each in bin sbin lib lib64; do
        mkdir -p usr/$each
        if [ -d $each ] && [ ! -L $each ]; then cp -a $each/. usr/$each/; rm -r $each; fi
        ln -sfn usr/$each $each
      done
      rm -rf etc var usr/share/doc usr/share/man usr/share/locale usr/share/lintian usr/share/bug
      find . -type l | while read -r link; do
        target=$(readlink "$link")
        case $target in /*) ln -sfn "$out$target" "$link";; esac
      done
      libraries=$out/usr/lib/$triple
      [ -e $loader ] || ln -s $libraries/''${loader##*/} $loader
      ln -sf bash usr/bin/sh; ln -sf gawk usr/bin/awk
      tree=''${patcher:-$out}
      patchelf=$NIX_BUILD_TOP/patchelf; cp $tree/usr/bin/patchelf $patchelf
      patch() { $tree/usr/lib64/ld-linux-x86-64.so.2 --library-path $tree/usr/lib/x86_64-linux-gnu $patchelf "$@"; }
      find usr/bin usr/sbin usr/lib/gcc usr/libexec -type f | while read -r file; do
        [ "$(head -c4 "$file" | od -An -tx1 | tr -d ' \n')" = 7f454c46 ] || continue
        patch --print-interpreter "$file" > interpreter 2>&1 || continue
        patch --set-interpreter $out/$loader --force-rpath --set-rpath $libraries "$file"
      done
      rm -f interpreter
      printf '#!%s\nexec %s --sysroot=%s -B%s -Wl,--dynamic-linker=%s -Wl,-rpath,%s "$@"\n' \
        $out/usr/bin/bash $out/usr/bin/gcc-12 $out $out/usr/bin $out/$loader $libraries > usr/bin/gcc
      chmod +x usr/bin/gcc; ln -sf gcc usr/bin/cc
      grep -rlE '^#! ?/bin/(sh|bash)' usr/bin | while read -r file; do sed -i "1s|#! */bin/|#!$out/usr/bin/|" "$file"; done
    '' ];
  };

  toolchains = builtins.mapAttrs (arch: _: toolchainOf arch) kinds;

  sourceOf = pattern: taken "sources"
    (builtins.head (builtins.filter (name: builtins.match pattern name != null) (entries "sources")));

  programsOf = arch: let
    toolchain = toolchains.${arch};
    compiled = name: source: { outputs ? [ "out" ], configure ? "sh ./configure --prefix=$out", build ? "make -j$NIX_BUILD_CORES", install ? "make install" }:
      derivation {
        inherit name outputs toolchain seed;
        system = "${arch}-linux";
        src = sourceOf source;
        builder = "${toolchain}/usr/bin/bash";
        PATH = "${toolchain}/usr/bin";
        CONFIG_SHELL = "${toolchain}/usr/bin/bash";
        args = [ "-e" "-c" ''
          export HOME=$NIX_BUILD_TOP MAKEFLAGS="SHELL=$CONFIG_SHELL"
          tar xf $src; cd */
          ${configure}
          ${build}
          ${install}
        '' ];
      };
  in {
    inherit toolchain;
    hello = compiled "hello" "hello_.*\\.orig\\.tar\\..*" { };
    zlib = compiled "zlib" "zlib_.*\\.orig\\.tar\\..*" {
      outputs = [ "out" "dev" ];
      install = "make install; mkdir -p $dev; mv $out/include $dev/include; echo $out > $dev/lib-path";
    };
    lua = compiled "lua" "lua5.4_.*\\.orig\\.tar\\..*" {
      configure = ":";
      build = "make -j$NIX_BUILD_CORES CC=gcc linux";
      install = "make install INSTALL_TOP=$out";
    };
    # A few files of zlib, and as its output how many milliseconds that took.
    few = compiled "few" "zlib_.*\\.orig\\.tar\\..*" {
      configure = "began=$(date +%s%3N)";
      build = "for each in adler32 crc32 trees inflate inftrees; do gcc -O3 -c $each.c; done";
      install = "echo $(($(date +%s%3N) - began)) > $out";
    };
  };
in builtins.mapAttrs (arch: _: programsOf arch) kinds
