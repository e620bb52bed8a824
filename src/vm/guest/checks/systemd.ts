import { quoteWord } from '../../../common/process/shell-quote.js'
import type { Check, CheckOutcome } from './check.js'
import { runScript } from './guest-script.js'

const JOURNAL_LINES = 20
/** Commands of a unit around its main process, in the order in which systemd runs them. */
const COMMANDS = ['ExecCondition', 'ExecStartPre', 'ExecStartPost'] as const
const PROPERTIES = [
  ...['LoadState', 'ActiveState', 'SubState', 'Result', 'ExecMainPID', 'ExecMainStatus', 'LoadError'],
  ...COMMANDS,
]
const ARGUMENTS = 'argv[]='
const NO_SYSTEMD = 'the guest has no systemd that answers'

/**
 * A unit of systemd is active. It never will be when it failed, is not there, or is inactive while the manager
 * has no job to do.
 */
export function unitIsActive(name: string): Check {
  const unit = quoteWord(name)
  // The jobs first: a unit that is inactive after there were none will not be started by one of them.
  const script = [
    'systemctl list-jobs --no-legend --no-pager || exit 1',
    'echo ---',
    `systemctl show --no-pager -p ${PROPERTIES.join()} -- ${unit}`,
  ].join('\n')
  return {
    expected: `the unit ${name} to be active`,
    run: async (vm, signal) => {
      const { stdout, stderr, exitCode } = await runScript(vm, script, signal)
      if (exitCode === 127 || /not found|not been booted with systemd/.test(stderr)) {
        return { isMet: false, received: stderr.trim(), never: NO_SYSTEMD }
      }
      if (exitCode !== 0) return { isMet: false, received: stderr.trim() || `exit code ${exitCode}` }
      return readUnit(name, stdout)
    },
    explain: async (vm, signal) => {
      const journal = `journalctl --no-pager -n ${JOURNAL_LINES} -o short-iso -u ${unit}`
      const { stdout, stderr } = await runScript(vm, journal, signal)
      return [{ label: `Journal of ${name}`, text: stdout || stderr || '(empty)' }]
    },
  }
}

/** Judges what `systemctl list-jobs` and, behind a line of dashes, `systemctl show` print. */
export function readUnit(name: string, text: string): CheckOutcome {
  const [jobs = '', properties = ''] = text.split(/^---$/m)
  const read = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(properties)?.[1] ?? ''
  const active = read('ActiveState')
  const state = `${active || 'no state'} (${read('SubState') || 'unknown'})`
  if (active === 'active') return { isMet: true, received: state }
  const load = read('LoadState')
  if (load !== '' && load !== 'loaded') {
    return { isMet: false, received: `a unit that is ${load}`, never: `the unit ${name} is ${load}` }
  }
  if (active === 'failed') {
    const received = [state, `result ${read('Result')}`, ...describeFailure(properties)].join(', ')
    return { isMet: false, received, never: `the unit ${name} failed` }
  }
  if (active === 'inactive' && isIdle(jobs)) {
    const never = `the unit ${name} is inactive, and systemd has no job to do`
    return { isMet: false, received: `${state}, no jobs`, never }
  }
  return { isMet: false, received: `${state}${isIdle(jobs) ? '' : ', with jobs pending'}` }
}

/** The command that failed: the status of the main process says nothing where that was never started. */
function describeFailure(properties: string): string[] {
  for (const name of COMMANDS) {
    for (const [, command = ''] of properties.matchAll(new RegExp(`^${name}=\\{ (.*) \\}$`, 'gm'))) {
      const how = describeCommand(command)
      if (how !== undefined) return [`${name}=${how}`]
    }
  }
  const hasRun = !/^ExecMainPID=0$/m.test(properties)
  const status = /^ExecMainStatus=(.*)$/m.exec(properties)?.[1]
  return hasRun && status !== undefined ? [`exit status ${status}`] : []
}

/**
 * The words of a command that failed, and how it ended; undefined for any other. `systemctl show` prints fields with ` ; ` between them,
 * which the words may have too. A guest prints lines of any length, for which a pattern over all fields takes time by their cube.
 */
function describeCommand(command: string): string | undefined {
  const fields = command.split(' ; ')
  const start = fields.findIndex((field) => field.startsWith(ARGUMENTS))
  const end = fields.findIndex(
    (field, index) => index > start && /^(ignore_errors=(yes|no)|flags=\S*)$/.test(field),
  )
  const [, code] = /^code=(exited|killed|dumped)$/.exec(fields.at(-2) ?? '') ?? []
  const [, status] = /^status=(\S+)$/.exec(fields.at(-1) ?? '') ?? []
  if (start === -1 || end === -1 || code === undefined || status === undefined) return undefined
  if (fields[end] === 'ignore_errors=yes' || (code === 'exited' && status === '0')) return undefined
  const words = fields.slice(start, end).join(' ; ').slice(ARGUMENTS.length)
  const how = code === 'exited' ? `exit status ${status}` : `${code} by ${status.replace(/^\d+\//, 'SIG')}`
  return `${words}: ${how}`
}

function isIdle(jobs: string): boolean {
  return jobs.trim() === '' || /^No jobs/.test(jobs.trim())
}

export interface JournalExpectation {
  /** The least priority that counts, as `journalctl -p` takes it. @default 'err' */
  readonly priority?: 'emerg' | 'alert' | 'crit' | 'err' | 'warning'
  /** Only lines of this unit. @default all lines of this boot */
  readonly unit?: string
  /** Lines that may be there. */
  readonly ignore?: readonly RegExp[]
}

/** The journal of this boot has no errors. An error in it does not go away: it fails at once. */
export function journalIsClean({ priority = 'err', unit, ignore = [] }: JournalExpectation = {}): Check {
  const ofUnit = unit === undefined ? '' : ` -u ${quoteWord(unit)}`
  const script = `journalctl -b -q --no-pager -o short-iso -p ${quoteWord(priority)}${ofUnit}`
  return {
    expected: `the journal${unit === undefined ? '' : ` of ${unit}`} to be without lines of priority ${priority} and above`,
    run: async (vm, signal) => {
      const { stdout, stderr, exitCode } = await runScript(vm, script, signal)
      if (exitCode !== 0) {
        const never = exitCode === 127 ? 'the guest has no journalctl' : undefined
        return { isMet: false, received: stderr.trim() || `exit code ${exitCode}`, never }
      }
      return readJournal(stdout, ignore)
    },
  }
}

export function readJournal(text: string, ignore: readonly RegExp[]): CheckOutcome {
  const lines = text.split('\n').filter((line) => line !== '' && !/^-- .* --$/.test(line))
  const bad = lines.filter(
    (line) => !ignore.some(({ source, flags }) => new RegExp(source, flags.replace(/[gy]/g, '')).test(line)),
  )
  if (bad.length === 0) return { isMet: true, received: 'no such lines' }
  return {
    isMet: false,
    received: bad.slice(-JOURNAL_LINES).join('\n'),
    never: `the journal has ${bad.length} such ${bad.length === 1 ? 'line' : 'lines'}`,
  }
}
