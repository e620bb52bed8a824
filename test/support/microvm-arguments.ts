import { readFileSync } from 'node:fs'

/** Returns kernel arguments with the TSC frequency. Without KVM, a kernel may wait forever for the timer it measures it with. */
export function microvmArguments(): string {
  const [, mhz = '2000'] = /^cpu MHz\s*: (\d+)/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? []
  return `tsc_early_khz=${mhz}000`
}
