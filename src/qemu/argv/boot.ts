import type { MachineSpec } from '../../spec/machine-spec.js'
import { joinOption } from './join-option.js'

export function bootArgs({ bootOrder: order, bootMenu, directBoot }: MachineSpec): string[] {
  const args: string[] = []
  const menu = bootMenu ? 'on' : undefined
  if (order !== undefined || bootMenu) args.push('-boot', joinOption('', { order, menu }))
  if (directBoot !== undefined) {
    const { kernel, initrd, append } = directBoot
    args.push('-kernel', kernel)
    if (initrd !== undefined) args.push('-initrd', initrd)
    if (append !== '') args.push('-append', append)
  }
  return args
}
