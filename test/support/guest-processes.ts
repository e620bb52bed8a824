import type { VM } from 'withvm'

/** How many processes of the guest have a command line that matches. */
export async function countProcesses(vm: VM, pattern: string): Promise<number> {
  // The brackets keep the pattern from matching the search itself.
  const { stdout } = await vm.exec(
    `grep -ls '[${pattern[0]}]${pattern.slice(1)}' /proc/[0-9]*/cmdline | wc -l`,
  )
  return Number(stdout)
}
