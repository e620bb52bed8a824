import { describeArch } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

export function cpuArgs(
  { arch, cpu, cpus, topology }: MachineSpec,
  { accelerator }: Pick<Wiring, 'accelerator'>,
): string[] {
  const { maxcpus, sockets, dies, cores, threads } = topology
  const arrangement = joinOption(String(cpus), { maxcpus, sockets, dies, cores, threads })
  const model = cpu ?? describeArch(arch).cpu[accelerator]
  return [...(model === undefined ? [] : ['-cpu', model]), '-smp', arrangement]
}
