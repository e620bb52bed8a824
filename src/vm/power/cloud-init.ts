import { parseObject } from '../../channel/json-lines.js'
import type { SshClient } from '../../channel/ssh/ssh-client.js'
import { isRecord } from '../../common/is-record.js'
import { vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'

/**
 * Reads cloud-init's files instead of `cloud-init status --wait`: 22.4 stops waiting at the first
 * error, and takes seconds to start.
 */
const WAIT = `command -v cloud-init >/dev/null || exit 127
while [ ! -e /run/cloud-init/result.json ] && [ ! -e /run/cloud-init/disabled ]; do sleep 1; done
cat /run/cloud-init/status.json`

const LOGS = `sudo=; [ "$(id -u)" = 0 ] || sudo='sudo -n'
$sudo grep -hE 'WARNING|ERROR|CRITICAL|Traceback' /var/log/cloud-init.log | tail -n 20
$sudo grep -v '^ci-info' /var/log/cloud-init-output.log | tail -n 20`

const COMMAND_NOT_FOUND = 127
/** Number of warnings that are logged. The guest can report any number of them. */
const MAX_WARNINGS = 20

interface StageReport {
  readonly errors?: unknown
  readonly recoverable_errors?: unknown
}

/** Result reported by cloud-init. */
interface CloudInitReport {
  /** Failed operations. */
  readonly errors: readonly string[]
  /** Recoverable errors. */
  readonly warnings: readonly string[]
}

/**
 * Waits until cloud-init in the guest has finished, and logs its warnings.
 *
 * @throws {GuestError} CLOUD_INIT_FAILED with cloud-init's log when it reports errors; or when it
 *   is not installed or did not run.
 */
export async function waitForCloudInit(
  machine: Machine,
  client: SshClient,
  signal: AbortSignal,
): Promise<void> {
  const { stdout, exitCode } = await client.exec(WAIT, { reject: false, signal })
  if (exitCode === COMMAND_NOT_FOUND) throw cloudInitMissingError(machine)
  const report = parseStatus(stdout)
  if (report === undefined) throw cloudInitNotRunError(machine)
  logWarnings(machine, report.warnings)
  if (report.errors.length === 0) return
  const logs = await client.exec(LOGS, { reject: false, signal })
  throw vmError('CLOUD_INIT_FAILED', {
    summary: `Guest '${machine.name}': cloud-init reported errors.`,
    got: report.errors.join('\n'),
    evidence: [{ label: "cloud-init's logs", text: logs.stdout }],
    hint: "Correct `cloudInit` or the image's cloud-init configuration. Set ready: 'ssh' to inspect the guest anyway.",
  })
}

function logWarnings({ owner, spec: { name } }: Machine, warnings: readonly string[]): void {
  for (const warning of warnings.slice(0, MAX_WARNINGS)) owner.log(`cloud-init in '${name}': ${warning}`)
  const more = warnings.length - MAX_WARNINGS
  if (more > 0) owner.log(`cloud-init in '${name}': ${more} more warnings`)
}

/**
 * Parses /run/cloud-init/status.json. Returns undefined if it is invalid, or if cloud-init did not
 * finish.
 */
export function parseStatus(text: string): CloudInitReport | undefined {
  const stages = parseObject<{ readonly v1?: unknown }>(text)?.v1
  if (!isRecord(stages)) return undefined
  const final = stages['modules-final']
  if (!isRecord(final) || typeof final.finished !== 'number') return undefined
  const reports: StageReport[] = Object.values(stages).filter(isRecord)
  const warnings = reports.flatMap(({ recoverable_errors }) =>
    isRecord(recoverable_errors)
      ? Object.entries(recoverable_errors).flatMap(([level, lines]) =>
          readTexts(lines).map((line) => `${level}: ${line}`),
        )
      : [],
  )
  return {
    errors: [...new Set(reports.flatMap(({ errors }) => readTexts(errors)))],
    warnings: [...new Set(warnings)],
  }
}

function readTexts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string') : []
}

function cloudInitMissingError({ name }: Machine) {
  return vmError('CLOUD_INIT_FAILED', {
    summary: `Guest '${name}': cloud-init is not installed.`,
    hint: "Omit `cloudInit`, or set ready: 'ssh' if another program reads it.",
  })
}

function cloudInitNotRunError({ name }: Machine) {
  return vmError('CLOUD_INIT_FAILED', {
    summary: `Guest '${name}': cloud-init did not run.`,
    expected: 'cloud-init to use the data source NoCloud on the disk with the label CIDATA',
    got: '/run/cloud-init/status.json without a finished stage `modules-final`',
    hint: 'Read /run/cloud-init/ds-identify.log in the guest: cloud-init may be disabled (/etc/cloud/cloud-init.disabled) or limited to other data sources (/etc/cloud/cloud.cfg.d).',
  })
}
