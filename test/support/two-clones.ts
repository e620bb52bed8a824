import { expect } from 'vitest'
import { launchVM, type VM, type VMOptions } from 'withvm'

/** Values that must differ between two guests, as commands for the guest agent. */
const FACTS = {
  hostName: 'hostname',
  machineId: 'cat /etc/machine-id',
  mac: 'cat /sys/class/net/eth0/address',
  random: 'head -c 16 /dev/urandom | xxd -p',
  hostKey: 'cat /run/withvm/host-key | xxd -p | tr -d "\\n"',
} as const

/** Starts two guests one after the other, and asserts that both are clones with an identity of their own. */
export async function startTwoClones(options: VMOptions): Promise<[VM, VM] & AsyncDisposable> {
  const start = (name: string) => launchVM({ standby: false, log: () => {}, ...options, name })
  const one = await start('one')
  try {
    const two = await start('two')
    const guests: [VM, VM] = [one, two]
    for (const vm of guests)
      expect(vm.startedFrom).toMatchObject({ kind: 'template', template: expect.any(String) })
    const dispose = async () => {
      await Promise.all(guests.map((vm) => vm.dispose()))
    }
    return Object.assign(guests, { [Symbol.asyncDispose]: dispose })
  } catch (error) {
    await one.dispose()
    throw error
  }
}

/** Asserts that two clones differ in everything that must differ. */
export async function expectOwnIdentities([one, two]: readonly [VM, VM]): Promise<void> {
  for (const [fact, command] of Object.entries(FACTS)) {
    const [ofOne, ofTwo] = [await one.exec(command), await two.exec(command)]
    expect(ofOne.stdout, fact).toMatch(/./)
    expect(ofOne.stdout, fact).not.toBe(ofTwo.stdout)
  }
}
