/** Copy of busybox whose file name selects the applet wget. */
export const WGET_APPLET = '/usr/lib/withvm/wget'

/**
 * Adds the option -T to busybox's wget. Debian builds busybox without timeouts, and then -T ends
 * with a segmentation fault: its number is stored through a null pointer.
 *
 * As in a build with timeouts, the limit applies to the connection and to each pause of the
 * transfer. The bytes that the process has read show its progress.
 */
export const WGET = `#!/bin/sh
seconds= next= left=$#
while [ "$left" -gt 0 ]; do
  left=$((left - 1)) word=$1
  shift
  case "$next:$word" in
    timeout:*) seconds=$word next= ;;
    value:*) set -- "$@" "$word"; next= ;;
    end:*) set -- "$@" "$word" ;;
    :--) set -- "$@" --; next=end ;;
    :--timeout) next=timeout ;;
    :--timeout=*) seconds=\${word#*=} ;;
    :--header | :--post-data | :--post-file | :--output-document | :--output-file | :--directory-prefix | :--user-agent)
      set -- "$@" "$word"; next=value ;;
    :--* | :-) set -- "$@" "$word" ;;
    :-*)
      # Letters of one word: an option with a value takes the rest of the word, or the next word.
      rest=\${word#-} kept=-
      while [ -n "$rest" ]; do
        letter=\${rest%"\${rest#?}"} rest=\${rest#?}
        case $letter in
          T) [ -n "$rest" ] && seconds=$rest || next=timeout; rest= ;;
          [OoPYUt]) [ -n "$rest" ] || next=value; kept=$kept$letter$rest rest= ;;
          n) kept=$kept$letter$rest rest= ;;
          *) kept=$kept$letter ;;
        esac
      done
      [ "$kept" = - ] || set -- "$@" "$kept" ;;
    *) set -- "$@" "$word" ;;
  esac
done
[ "$next" = timeout ] && seconds=missing
case $seconds in
  '' | 0) exec ${WGET_APPLET} "$@" ;;
  *[!0-9]*) echo "wget: invalid number '$seconds'" >&2; exit 1 ;;
esac

exec 3<&0
${WGET_APPLET} "$@" <&3 3<&- &
pid=$!
trap 'kill "$pid"; exit 143' TERM
trap 'kill "$pid"; exit 130' INT
(
  idle=0 before=
  while [ "$idle" -lt "$seconds" ] && sleep 1; do
    bytes=
    while read -r key value; do [ "$key" = rchar: ] && bytes=$value; done <"/proc/$pid/io"
    if [ "$bytes" = "$before" ]; then idle=$((idle + 1)); else idle=0 before=$bytes; fi
  done
  # Shells report other signals of their background processes.
  trap '' PIPE
  kill -PIPE "$pid"
) <&- >/dev/null 2>&1 3<&- &
watcher=$!
wait "$pid"
code=$?
kill -PIPE "$watcher" 2>/dev/null
wait "$watcher" || exit "$code"
echo 'wget: download timed out' >&2
exit 1
`

/** Name of the applet in busybox, and its place in the sorted list of applets. */
const APPLET = Buffer.from('\0wc\0wget\0', 'latin1')
const HIDDEN = Buffer.from('\0wc\0wge_\0', 'latin1')
/** Message of a wget with timeouts. */
const TIMEOUT_MESSAGE = 'download timed out'

/**
 * Returns busybox without the name wget in its list of applets: its shell prefers applets to
 * programs. Undefined if its wget supports timeouts, or if the list was not found.
 */
export function hideWget(busybox: Buffer): Buffer | undefined {
  const start = busybox.indexOf(APPLET)
  if (start === -1 || busybox.includes(TIMEOUT_MESSAGE, 0, 'latin1')) return undefined
  const hidden = Buffer.from(busybox)
  HIDDEN.copy(hidden, start)
  return hidden
}
