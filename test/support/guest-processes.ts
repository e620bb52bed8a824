import type { VM } from 'withvm'

/** Counts the processes of the guest whose command lines match. */
export async function countProcesses(vm: VM, pattern: string): Promise<number> {
  // The brackets prevent the pattern from matching the search itself.
  const { stdout } = await vm.exec(
    `grep -ls '[${pattern[0]}]${pattern.slice(1)}' /proc/[0-9]*/cmdline | wc -l`,
  )
  return Number(stdout)
}
