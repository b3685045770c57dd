# What a build sees, one fact a line: its name, a tab, its value. Written into $out, so that nothing on the way changes it.
for applet in $($bb/busybox --list); do
  case $applet in [a-z]*) case $applet in echo|printf|test|read|sh|busybox|kill|*-*) ;; *) eval "$applet() { $bb/busybox $applet \"\$@\"; }" ;; esac ;; esac
done
fact() { printf '%s\t%s\n' "$1" "$2" | sed -E 's|/nix/store/[0-9a-z]{32}-|/nix/store/|g' >> /build/facts; }
lines() { tr '\n' '|' < "$1" 2>/dev/null; }
answer() { "$@" > /build/answer 2>&1 && echo "yes $(lines /build/answer)" || echo "no $(lines /build/answer | sed 's/^[^ ]*: //')"; }
mode() { stat -c '%A %u:%g %F' "$1" 2>/dev/null || echo absent; }

# Who and where
fact user.id "$(id -u)"; fact user.group "$(id -g)"; fact user.groups "$(id -G)"; fact user.name "$(id -un 2>&1)"; fact user.group-name "$(id -gn 2>&1)"
fact place.directory "$(pwd)"; fact place.real "$(readlink -f .)"; fact place.umask "$(umask)"
fact place.entries "$(ls -A /build | grep -v '^facts$' | grep -v '^answer$' | tr '\n' ' ')"
fact shell.arguments "$#"; fact shell.name "$0" ; fact shell.pid "$$"

# Environment, whole
env | sort | grep -v '^facts=' | cut -d= -f1 | sort | tr '\n' ' ' > names; fact environment.names "$(cat names)"; rm names
for name in HOME NIX_BUILD_TOP NIX_BUILD_CORES NIX_ENFORCE_PURITY NIX_LOG_FD NIX_STORE PATH PWD TEMP TEMPDIR TERM TMP TMPDIR LANG LC_ALL TZ USER SHELL SHLVL OLDPWD HOSTNAME LD_LIBRARY_PATH SSH_AUTH_SOCK XDG_RUNTIME_DIR; do
  eval "value=\${$name-unset}"; fact environment.$name "$value"
done

# Limits, and the process as the kernel has it
tail -n +2 /proc/self/limits | sed -E 's/  +/\t/g' | while IFS="$(printf '\t')" read -r name soft hard rest; do fact "limit.$name" "$soft $hard"; done
for field in Uid Gid Groups Umask Threads NoNewPrivs Seccomp CapInh CapPrm CapEff CapBnd CapAmb SigPnd ShdPnd SigBlk SigIgn SigCgt TracerPid; do
  fact "status.$field" "$(awk -v field="$field:" '$1 == field { $1 = ""; print }' /proc/$$/status)"
done
fact process.namespace-depth "$(awk '$1 == "NStgid:" { print NF - 1 }' /proc/self/status)"
for file in personality oom_score_adj coredump_filter loginuid sessionid timerslack_ns cgroup; do fact "process.$file" "$(lines /proc/$$/$file)"; done
fact process.nice "$(nice)"; fact process.session "$(awk '{ sub(/.*\) /, ""); print $3, $4 }' /proc/$$/stat)"
fact process.scheduling "$(awk '{ sub(/.*\) /, ""); print $38, $39 }' /proc/$$/stat)"
fact process.all "$(ps -o pid,user,comm | awk 'NR > 1 && $3 != "ps" && $3 != "awk" && $3 != "busybox" { print $1, $2, $3 }' | tr '\n' '|')"
fact process.parent "$PPID"
# Who one is outside is the installation's own.
fact maps.user "$(awk '{ print $1, $3 }' /proc/self/uid_map)"; fact maps.group "$(awk '{ print $1, $3 }' /proc/self/gid_map)"; fact maps.setgroups "$(cat /proc/self/setgroups)"

# Descriptors and the terminal
fact descriptors.open "$(ls /proc/$$/fd | grep -v '^10$' | tr '\n' ' ')"
for fd in 0 1 2; do fact "descriptors.$fd" "$(readlink /proc/$$/fd/$fd | sed 's|pts/[0-9]*|pts/N|; s|pipe:.*|pipe|; s|socket:.*|socket|')"; fact "descriptors.$fd.terminal" "$(test -t $fd && echo yes || echo no)"; done
fact descriptors.input "$(head -c 1 | wc -c)"
for flag in icrnl onlcr opost icanon echo isig ixon; do fact "terminal.$flag" "$(stty -a <&2 2>/dev/null | grep -oE -- "-?\b$flag\b" | head -1)"; done
fact terminal.size "$(stty size <&2 2>&1 | sed 's/.*: //')"; fact terminal.controlling "$( (echo > /dev/tty) 2>&1 | sed 's/.*: //')"

# Files: what there is, whose, and what may be done with it
for place in / /bin /build /dev /dev/pts /dev/shm /etc /nix /proc /tmp; do
  fact "mode$place" "$(stat -c '%a %u:%g' $place)"
  case $place in /proc|/build|/tmp) ;; *) fact "entries$place" "$(ls -A $place | sed 's/^[0-9]*$/N/' | tr '\n' ' ')" ;; esac
done
fact mode/nix/store "$(stat -c '%a %u:%g' /nix/store)"; fact mode/bin/sh "$(mode /bin/sh)"
fact entries/nix/store "$(ls /nix/store | sed 's/^[^-]*-//' | sort | tr '\n' ' ')"
for node in /dev/*; do
  case $node in /dev/pts|/dev/shm) continue ;; esac
  [ -L $node ] && fact "device$node" "link to $(readlink $node)" || fact "device$node" "$(stat -c '%A %u:%g %t:%T' $node)"
done
for file in /etc/*; do fact "file$file" "$(lines $file)"; fact "mode$file" "$(mode $file)"; done
for path in /etc/resolv.conf /etc/nsswitch.conf /etc/services /etc/protocols /etc/ssl /sys /run /var /home /root /lib /lib64 /usr /boot /nix/var /dev/fuse /dev/net /dev/mem /dev/kvm /dev/sda /dev/vda /proc/kcore /proc/keys /proc/sysrq-trigger; do fact "present$path" "$(mode $path)"; done
for path in /x /etc/x /etc/passwd /bin/x /nix/x /nix/store/x /tmp/x /build/x /dev/x /dev/shm/x /dev/pts/x /proc/x /proc/sysrq-trigger /proc/sys/kernel/hostname /proc/sys/vm/drop_caches; do
  [ -e $path ] && existed=yes || existed=no
  fact "writable$path" "$( (echo x >> $path) 2>&1 | sed 's/.*: //')"
  [ $existed = yes ] || rm -f $path
done
awk '{ split($0, half, " - "); split(half[2], type, " "); print "mount" $5 "\t" $6 }' /proc/self/mountinfo | sed -E 's|/nix/store/[0-9a-z]{32}-|/nix/store/|g' | sort >> /build/facts
awk '{ split($0, half, " - "); split(half[2], type, " "); print "filesystem" $5 "\t" type[1] }' /proc/self/mountinfo | sed -E 's|/nix/store/[0-9a-z]{32}-|/nix/store/|g' | sort >> /build/facts
fact input.mode "$(stat -c '%a %u:%g %Y' $bb/busybox)"; fact input.directory "$(stat -c '%a %u:%g %Y' $bb)"
fact input.writable "$( (echo x >> $bb/busybox) 2>&1 | sed 's/.*: //')"; fact input.removable "$(answer rm -f $bb/busybox)"
umask 022; touch made; mkdir made-directory; fact made.file "$(stat -c '%a %u:%g' made)"; fact made.directory "$(stat -c '%a %u:%g' made-directory)"
ln made linked; fact made.links "$(stat -c %h made)"; ln -s nowhere pointed; fact made.symlink "$(stat -c '%a %u:%g' pointed)"
fact made.case "$(touch Made; ls | grep -ci '^made$')"; fact made.fifo "$(answer mkfifo pipe)"; fact made.sparse "$(truncate -s 1M hole; stat -c '%s %b' hole)"
fact made.time "$(touch -d '1970-01-01 00:00:01' made; stat -c %Y made)"; fact made.long "$(answer touch $(head -c 255 /dev/zero | tr '\0' x))"; rm -f xxx*
fact may.setuid "$(answer chmod u+s made)"; fact may.setgid "$(answer chmod g+s made)"; fact may.sticky "$(answer chmod +t made-directory)"; fact may.chmod "$(answer chmod 777 made)"
fact may.chown "$(answer chown 0:0 made)"; fact may.chown-self "$(answer chown $(id -u):$(id -g) made)"; fact may.device "$(answer mknod node c 1 3)"
fact may.mount "$(answer mount -t tmpfs none /tmp)"; fact may.chroot "$(answer chroot / true)"; fact may.hostname "$(answer hostname other)"
fact may.renice "$(answer nice -n -5 true)"; fact may.kill-first "$(kill -0 1 2>&1 && echo yes)"; fact may.date "$(answer date -s 2000-01-01)"
fact may.namespace "$(answer unshare -U true)"; fact may.network-namespace "$(answer unshare -n true)"

# The machine, as far as it is shown
fact machine.system "$(uname -s)"; fact machine.kind "$(uname -m)"; fact machine.node "$(uname -n)"; fact machine.release "$(uname -r)"; fact machine.version "$(uname -v)"
fact machine.hostname "$(hostname)"; fact machine.domain "$(cat /proc/sys/kernel/domainname)"; fact machine.processors "$(nproc)"; fact machine.zone "$(date +%Z)"
fact machine.year "$([ $(date +%Y) -gt 2020 ] && echo plausible)"; fact machine.page "$(getconf PAGESIZE 2>/dev/null)"; fact machine.command-line "$(lines /proc/cmdline)"; fact machine.memory "$(awk '/MemTotal/ { print $2 }' /proc/meminfo)"
fact machine.swap "$(awk '/SwapTotal/ { print $2 }' /proc/meminfo)"; fact machine.modules "$(wc -l < /proc/modules 2>/dev/null)"; fact machine.random "$(head -c 8 /dev/urandom | wc -c)"; fact machine.zero "$(head -c 4 /dev/zero | od -An -tx1)"; fact machine.full "$( (echo x > /dev/full) 2>&1 | sed 's/.*: //')"
for setting in kernel/randomize_va_space kernel/pid_max kernel/core_pattern kernel/ngroups_max kernel/cap_last_cap kernel/yama/ptrace_scope kernel/kptr_restrict kernel/dmesg_restrict kernel/perf_event_paranoid kernel/unprivileged_bpf_disabled kernel/shmmax kernel/msgmax kernel/sem fs/file-max fs/nr_open fs/pipe-max-size fs/protected_symlinks fs/protected_hardlinks fs/protected_fifos fs/protected_regular fs/suid_dumpable fs/inotify/max_user_instances vm/overcommit_memory vm/max_map_count vm/mmap_min_addr net/ipv4/ip_local_port_range net/ipv4/ping_group_range net/ipv4/ip_unprivileged_port_start net/core/somaxconn net/ipv4/ip_forward net/ipv6/conf/all/disable_ipv6; do
  fact "setting.$setting" "$(tr -s '\t ' ' ' < /proc/sys/$setting 2>/dev/null || echo unreadable)"
done

# The network, of which there is none
fact network.interfaces "$(awk -F: 'NR > 2 { print $1 }' /proc/net/dev | tr -d ' ' | sort | tr '\n' ' ')"; fact network.loopback "$(ifconfig lo 2>&1 | grep -oE 'inet addr:[^ ]*|inet6 addr: [^ ]*|UP|RUNNING' | tr '\n' ' ')"
fact network.routes "$(tail -n +2 /proc/net/route | wc -l)"; fact network.routes6 "$(wc -l < /proc/net/ipv6_route 2>/dev/null)"; fact network.sockets "$(tail -n +2 /proc/net/tcp | wc -l)"
fact network.self "$(answer nc -w 2 127.0.0.1 9 < /dev/null)"; fact network.out "$(answer nc -w 2 192.0.2.1 9 < /dev/null)"; fact network.name "$(answer nslookup example.com 127.0.0.1 | sed 's/ .*//')"
(nc -l -p 7001 < /dev/null > heard & echo said | { sleep 0.3; nc -w 2 127.0.0.1 7001; }; wait) 2>/dev/null; fact network.listens "$(cat heard 2>/dev/null)"; fact network.unix "$(wc -l < /proc/net/unix)"

$probe/calls >> /build/facts
sort /build/facts > $out
