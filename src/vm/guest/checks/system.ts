import { matchText } from '../../../common/match-text.js'
import { quoteWord } from '../../../common/process/shell-quote.js'
import type { Check } from './check.js'
import { MARKER, runProbe, runScript, SLEEPS } from './guest-script.js'

/** Process in the guest. */
export interface GuestProcess {
  /** Process id. */
  readonly pid: number
  /** Name in the kernel: the first 15 characters of the file name. */
  readonly name: string
  /** Command line, joined with spaces; empty for a kernel thread. */
  readonly commandLine: string
}

const COMM_CHARS = 15
const SHOWN_PROCESSES = 60

/**
 * Met if a process with this name (as in `ps -o comm` and `pgrep -x`) or with a matching command
 * line runs.
 * @example checks.processRuns(/java .*-jar app\.jar/)
 */
export function processRuns(wanted: string | RegExp): Check<readonly GuestProcess[]> {
  // One process reads all files. The first path does not exist; it marks this process, so that the
  // check does not find itself. Command lines are read before names: exec(2) sets the name before
  // the command line changes, so a process found by its command line has the matching name.
  const script = `head -c 4096 /proc/${MARKER} /proc/[0-9]*/cmdline /proc/[0-9]*/stat 2>/dev/null; true`
  const list = async (vm: Parameters<Check['run']>[0], signal: AbortSignal) =>
    parseProcesses((await runScript(vm, script, signal)).stdout)
  return {
    expected: `a process ${typeof wanted === 'string' ? `named ${wanted}` : `that matches ${wanted}`} to be running`,
    run: async (vm, signal) => {
      const all = await list(vm, signal)
      const found = all.filter((process) => isProcess(process, wanted))
      const received =
        found.length === 0
          ? `none among ${all.length} processes`
          : found.map(({ pid, name, commandLine }) => `${pid} ${commandLine || name}`).join('\n')
      return { isMet: found.length > 0, received, value: found }
    },
    explain: async (vm, signal) => {
      const users = (await list(vm, signal)).filter(({ commandLine }) => commandLine !== '')
      const lines = users.slice(-SHOWN_PROCESSES).map(({ pid, commandLine }) => `${pid} ${commandLine}`)
      return [{ label: 'Processes of the guest', text: lines.join('\n') }]
    },
  }
}

function isProcess({ name, commandLine }: GuestProcess, wanted: string | RegExp): boolean {
  if (wanted instanceof RegExp) return matchText(commandLine || name, wanted)
  if (wanted.length <= COMM_CHARS) return name === wanted
  const file = commandLine.split(' ', 1)[0] ?? ''
  return name === wanted.slice(0, COMM_CHARS) && file.endsWith(wanted)
}

/**
 * Parses the `stat` and `cmdline` of all processes, as printed by `head`. Omits zombies and the
 * check itself.
 */
export function parseProcesses(text: string): GuestProcess[] {
  const names = new Map<number, string>()
  const commandLines = new Map<number, string>()
  for (const piece of text.split(/^==> /m)) {
    const match = /^\/proc\/(\d+)\/(stat|cmdline) <==\n([\s\S]*)$/.exec(piece)
    if (match === null) continue
    const [, pid, kind, content = ''] = match
    if (kind === 'cmdline') {
      commandLines.set(Number(pid), content.replaceAll('\0', ' ').trim())
    } else {
      // The name may contain parentheses: it ends at the last one.
      const stat = /^\d+ \(([\s\S]*)\) ([A-Za-z]) /.exec(content)
      if (stat !== null && !/[ZX]/.test(stat[2] as string)) names.set(Number(pid), stat[1] as string)
    }
  }
  return [...names]
    .map(([pid, name]) => ({ pid, name, commandLine: commandLines.get(pid) ?? '' }))
    .filter(({ commandLine }) => !isOurs(commandLine))
    .sort((a, b) => a.pid - b.pid)
}

function isOurs(commandLine: string): boolean {
  return [MARKER, SLEEPS.first, SLEEPS.later].some((mark) => commandLine.includes(mark))
}

/** Expected properties of a mounted file system. */
export interface MountExpectation {
  /** File system type, such as `ext4`. */
  readonly type?: string | undefined
  /** Device, such as `/dev/vdb`. */
  readonly source?: string | undefined
}

/** Mounted file system. */
export interface Mount {
  /** Device or name that is mounted, such as `/dev/vda`. */
  readonly source: string
  /** Folder on which it is mounted. */
  readonly path: string
  /** Type of the file system, such as `ext4`. */
  readonly type: string
  /** Mount options, separated by commas. */
  readonly options: string
}

/**
 * Met if a file system is mounted on a folder.
 * @example checks.isMounted('/srv', { type: 'ext4', source: '/dev/vdb' })
 */
export function isMounted(path: string, { type, source }: MountExpectation = {}): Check<Mount> {
  const parts = [
    ...(source === undefined ? [] : [`from ${source}`]),
    ...(type === undefined ? [] : [`as ${type}`]),
  ]
  return {
    expected: `${path} to be mounted${parts.length > 0 ? ` ${parts.join(' ')}` : ''}`,
    run: async (vm, signal) => {
      const mounts = parseMounts((await runScript(vm, 'cat /proc/mounts', signal)).stdout)
      // The last mount on a folder hides earlier ones.
      const found = mounts.filter((mount) => mount.path === path).at(-1)
      if (found === undefined) {
        return { isMet: false, received: `mounts on ${mounts.map((mount) => mount.path).join(', ')}` }
      }
      const isMet = (type ?? found.type) === found.type && (source ?? found.source) === found.source
      return { isMet, received: `mounted from ${found.source} as ${found.type}`, value: found }
    },
  }
}

/** Parses `/proc/mounts`, where blanks are escaped as octal numbers (proc(5)). */
export function parseMounts(text: string): Mount[] {
  const decode = (word = '') =>
    word.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [source, path, type, options] = line.split(' ', 4).map(decode)
      return { source: source ?? '', path: path ?? '', type: type ?? '', options: options ?? '' }
    })
}

/**
 * Met if a module is loaded, or built into the kernel.
 * @example checks.moduleIsLoaded('virtio_net')
 */
export function moduleIsLoaded(name: string): Check {
  const quoted = quoteWord(name.replaceAll('-', '_'))
  const probe = {
    condition: `[ -d /sys/module/${quoted} ]`,
    report: `grep '^'${quoted}' ' /proc/modules || { [ -d /sys/module/${quoted} ] && echo 'built in'; } || { echo 'not among:'; cut -d ' ' -f 1 /proc/modules | sort | tr '\\n' ' '; }`,
  }
  return {
    expected: `the kernel module ${name} to be loaded`,
    run: (vm, signal, longPoll) => runProbe(vm, probe, signal, longPoll),
  }
}
