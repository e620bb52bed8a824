/** Returns a shell script that kills a process of a Linux guest and all its descendants. */
export function killTreeOf(pid: number): string {
  return `roots=${pid}\n${KILL_ROOTS}`
}

/**
 * Returns a script like {@link killTreeOf} for a command that the same server process runs with
 * `sh -c`. The script reads the command line from stdin. `index` selects one of several equal
 * commands, counted from the oldest.
 */
export function killTreeOfSibling(index: number): string {
  return `${FIND_SIBLINGS}\nroots=$(printf '%s\\n' $found | sort -n | sed -n ${index + 1}p)\n${KILL_ROOTS}`
}

/** Parses proc_pid_stat(5): `pid (name) state ppid …`. The name may contain any character. */
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

/** Collects the complete tree before it kills any process: the parent of an orphan is process 1. */
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
