import type { MachineSpec } from '../../spec/machine-spec.js'
import { joinOption } from './join-option.js'

export function bootArgs({ bootOrder, directBoot }: MachineSpec): string[] {
  const args: string[] = []
  if (bootOrder !== undefined) args.push('-boot', joinOption('', { order: bootOrder }))
  if (directBoot !== undefined) {
    const { kernel, initrd, append } = directBoot
    args.push('-kernel', kernel)
    if (initrd !== undefined) args.push('-initrd', initrd)
    if (append !== '') args.push('-append', append)
  }
  return args
}
