import { DEFAULTS } from '../../spec/defaults.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'

export function cpuArgs({ cpu, cpus }: MachineSpec, { accelerator }: Pick<Wiring, 'accelerator'>): string[] {
  return ['-cpu', cpu ?? DEFAULTS.cpu[accelerator], '-smp', String(cpus)]
}
