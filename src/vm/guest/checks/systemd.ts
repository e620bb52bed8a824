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
 * Met if a systemd unit is active. Can no longer be met once the unit failed, if it does not exist,
 * or if it is inactive while systemd has no queued jobs.
 * @example checks.unitIsActive('nginx')
 */
export function unitIsActive(name: string): Check {
  const unit = quoteWord(name)
  // Jobs are listed first: if there are none, no job will start a unit that is inactive afterwards.
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

/**
 * Evaluates the output of `systemctl list-jobs` and, after a line of dashes, of `systemctl show`.
 */
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

/**
 * Returns the command that failed. The status of a main process that never started is meaningless.
 */
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
 * Returns the arguments and the status of a failed command; undefined for others. `systemctl show`
 * separates fields with ` ; `, which arguments may contain too. Lines of a guest have any length,
 * and a pattern over all fields would take cubic time.
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
