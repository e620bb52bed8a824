import { formatBytes } from '../../src/common/units.js'

type Report = (step: string, amount?: string) => void

const UNIT_BYTES: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 }
/** Longer than any line with progress. */
const MAX_LINE_CHARS = 64 * 1024

/** Steps that mmdebstrap announces, and their names in messages. */
const STEPS: ReadonlyArray<readonly [RegExp, string]> = [
  [/^I: running apt-get update/, 'reading the package lists'],
  [/^I: extracting archives/, 'unpacking the base system'],
  [/^I: running (special hook|--customize-hook)/, 'configuring the system'],
  [/^I: creating tarball/, 'packing the system'],
]

/**
 * Returns a function that takes the output of `mmdebstrap --verbose`, and reports its steps: bytes
 * of packages as announced by apt, and packages as they are set up by dpkg.
 */
export function followBootstrap(report: Report): (text: string) => void {
  const progress = { bytes: 0, totalBytes: 0, installed: 0, packages: 0 }
  let rest = ''
  return (text) => {
    const lines = `${rest}${text}`.split('\n')
    rest = (lines.pop() ?? '').slice(-MAX_LINE_CHARS)
    for (const line of lines) readLine(line, progress, report)
  }
}

interface BootstrapProgress {
  bytes: number
  totalBytes: number
  installed: number
  packages: number
}

function readLine(line: string, progress: BootstrapProgress, report: Report): void {
  const step = STEPS.find(([pattern]) => pattern.test(line))?.[1]
  if (step !== undefined) report(step)
  const added = /^\d+ upgraded, (\d+) newly installed/.exec(line)?.[1]
  if (added !== undefined) progress.packages += Number(added)
  const needed = /^Need to get ([\d.,]+) ([kMG]?B)[ /]/.exec(line)
  if (needed !== null) {
    progress.bytes = 0
    progress.totalBytes = readBytes(needed)
  }
  // Lists have no total.
  const received = /^Get:\d+ .*\[([\d.,]+) ([kMG]?B)\]$/.exec(line)
  if (received !== null && progress.totalBytes > 0) {
    progress.bytes = Math.min(progress.bytes + readBytes(received), progress.totalBytes)
    report('downloading packages', `${formatBytes(progress.bytes)} of ${formatBytes(progress.totalBytes)}`)
  }
  if (/^Setting up /.test(line)) {
    progress.installed++
    const count = Math.max(progress.installed, progress.packages)
    report('installing packages', `${progress.installed} of ${count}`)
  }
}

function readBytes([, amount = '', unit = '']: RegExpExecArray): number {
  return Math.round(Number(amount.replaceAll(',', '')) * (UNIT_BYTES[unit] ?? 1))
}
