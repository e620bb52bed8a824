import { readFileSync } from 'node:fs'

/** Without KVM a kernel may wait for ever for the timer by which it would find out how fast the processor counts: it is told. */
export function microvmArguments(): string {
  const [, mhz = '2000'] = /^cpu MHz\s*: (\d+)/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? []
  return `tsc_early_khz=${mhz}000`
}
