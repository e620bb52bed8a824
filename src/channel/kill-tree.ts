/** Shell lines that end a process of a Linux guest with all that it has started, which a signal to it alone leaves running. */
export function killTreeOf(pid: number): string {
  return `roots=${pid}\n${KILL_ROOTS}`
}

/**
 * As {@link killTreeOf}, for a command that a server runs by `sh -c`, and that comes on stdin: the one of that
 * number, from 0, among those of the same words that the same server process has started.
 */
export function killTreeOfSibling(index: number): string {
  return `${FIND_SIBLINGS}\nroots=$(printf '%s\\n' $found | sort -n | sed -n ${index + 1}p)\n${KILL_ROOTS}`
}

/** Reads proc_pid_stat(5): `pid (name) state ppid …`, where the name may hold anything. */
const FIND_SIBLINGS = `
wanted=$(cat)
found=
for stat in /proc/[0-9]*/stat; do
  read -r line <"$stat" || continue
  set -- \${line##*) }
  pid=\${line%% *}
  [ "$2" = "$PPID" ] && [ "$pid" != $$ ] || continue
  case "$(tr '\\0' '\\n' <"/proc/$pid/cmdline")" in
    *"
-c
$wanted") found="$found $pid" ;;
  esac
done`

/** The whole tree is known before any of it ends: an orphan's parent is process 1. */
const KILL_ROOTS = `
[ -n "$roots" ] || exit 1
all=$roots
young=$roots
while [ -n "$young" ]; do
  next=
  for stat in /proc/[0-9]*/stat; do
    read -r line <"$stat" || continue
    set -- \${line##*) }
    case " $young " in *" $2 "*) next="$next \${line%% *}" ;; esac
  done
  all="$all $next"
  young=$next
done
kill -TERM $all
sleep 1
kill -KILL $all
exit 0`
