import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

export function networkArgs(
  { network, forwards, bootOrder }: MachineSpec,
  { hostPorts, mac }: Pick<Wiring, 'hostPorts' | 'mac'>,
): string[] {
  const { model, internet, tftp, bootfile } = network
  const netdev = joinOption('user', { id: 'net0', restrict: internet ? 'off' : 'on', tftp, bootfile })
  const ports = forwards.map(({ protocol, bind, guest }, index) => {
    return `,hostfwd=${protocol}:${bind}:${hostPorts[index]}-:${guest}`
  })
  // A card's boot ROM is only of use where the firmware may boot from the network.
  const romfile = bootOrder?.includes('n') || tftp !== undefined ? undefined : ''
  return ['-netdev', netdev + ports.join(''), '-device', joinOption(model, { netdev: 'net0', mac, romfile })]
}
