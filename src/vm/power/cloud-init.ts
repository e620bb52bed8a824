import { parseObject } from '../../channel/json-lines.js'
import type { SshClient } from '../../channel/ssh/ssh-client.js'
import { vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'

/** The files tell what `cloud-init status --wait` does not: 22.4 stops waiting at the first error, and takes seconds to start. */
const WAIT = `command -v cloud-init >/dev/null || exit 127
while [ ! -e /run/cloud-init/result.json ] && [ ! -e /run/cloud-init/disabled ]; do sleep 1; done
cat /run/cloud-init/status.json`

const LOGS = `sudo=; [ "$(id -u)" = 0 ] || sudo='sudo -n'
$sudo grep -hE 'WARNING|ERROR|CRITICAL|Traceback' /var/log/cloud-init.log | tail -n 20
$sudo grep -v '^ci-info' /var/log/cloud-init-output.log | tail -n 20`

const NOT_THERE = 127

interface StageReport {
  readonly errors?: unknown
  readonly recoverable_errors?: unknown
}

/** What cloud-init says of how it went. */
interface CloudInitReport {
  /** What it could not do. */
  readonly errors: readonly string[]
  /** What it did otherwise than it was told. */
  readonly warnings: readonly string[]
}

/**
 * Waits until cloud-init in the guest has done all, and tells of its warnings.
 *
 * @throws {GuestError} CLOUD_INIT_FAILED when it could not do something, with its log; or when there is none, or it did not run.
 */
export async function waitForCloudInit(
  machine: Machine,
  client: SshClient,
  signal: AbortSignal,
): Promise<void> {
  const { stdout, exitCode } = await client.exec(WAIT, { reject: false, signal })
  if (exitCode === NOT_THERE) throw absent(machine)
  const report = parseStatus(stdout)
  if (report === undefined) throw notRun(machine)
  for (const warning of report.warnings) machine.log(`cloud-init in '${machine.spec.name}': ${warning}`)
  if (report.errors.length === 0) return
  const logs = await client.exec(LOGS, { reject: false, signal })
  throw vmError('CLOUD_INIT_FAILED', {
    summary: `cloud-init in the guest '${machine.spec.name}' did not do all that it was told.`,
    got: report.errors.join('\n'),
    evidence: [{ label: "cloud-init's logs", text: logs.stdout }],
    hint: "correct `cloudInit`, or what the image tells cloud-init. With ready: 'ssh' the guest is there all the same, to look into.",
  })
}

/** Reads /run/cloud-init/status.json; undefined if it is none, or of a cloud-init that was not run to its end. */
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

/** It is the guest that writes the report: it may hold anything. */
function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function readTexts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string') : []
}

function absent({ spec }: Machine) {
  return vmError('CLOUD_INIT_FAILED', {
    summary: `There is no cloud-init in the guest '${spec.name}'.`,
    hint: "leave `cloudInit` out. Where another program reads it, say ready: 'ssh'.",
  })
}

function notRun({ spec }: Machine) {
  return vmError('CLOUD_INIT_FAILED', {
    summary: `cloud-init in the guest '${spec.name}' did not run.`,
    expected: 'it to find the disk with the label CIDATA, its data source NoCloud',
    got: 'no end of its last stage in /run/cloud-init/status.json',
    hint: 'the image may have it switched off (/etc/cloud/cloud-init.disabled), or know other data sources only (/etc/cloud/cloud.cfg.d): /run/cloud-init/ds-identify.log in the guest tells.',
  })
}
