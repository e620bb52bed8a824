import { DEFAULTS } from '../../spec/defaults.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

export function cpuArgs(
  { cpu, cpus, topology }: MachineSpec,
  { accelerator }: Pick<Wiring, 'accelerator'>,
): string[] {
  const { maxcpus, sockets, dies, cores, threads } = topology
  const arrangement = joinOption(String(cpus), { maxcpus, sockets, dies, cores, threads })
  return ['-cpu', cpu ?? DEFAULTS.cpu[accelerator], '-smp', arrangement]
}
