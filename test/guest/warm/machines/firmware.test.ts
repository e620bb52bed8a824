import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { resolveCacheDir } from '../../../../src/common/cache-dir.js'
import { expectOwnIdentities, startTwoClones } from '../../../support/two-clones.js'

const options = { machine: 'q35', firmware: 'uefi', tpm: { model: 'crb' }, disks: [{ size: '1M' }] } as const

let clones: [VM, VM] & AsyncDisposable

beforeAll(async () => {
  clones = await startTwoClones(options)
  return () => clones[Symbol.asyncDispose]()
})

const variables = (vm: VM) => readFileSync(join(vm.runFolder, 'uefi-vars'))

test('clones of a UEFI guest with a TPM have their own identities', async () => {
  await expectOwnIdentities(clones)
})

test('each clone has its own UEFI variables, which begin with those of the template', async () => {
  const [one, two] = clones
  await one.exec('modprobe efivarfs; mount -t efivarfs none /sys/firmware/efi/efivars')
  expect((await one.exec('ls /sys/firmware/efi/efivars')).stdout).toContain('Boot0000')
  expect(variables(one).equals(variables(two))).toBe(true)
  const name = 'Withvm-12345678-1234-1234-1234-123456789abc'
  await one.exec(`printf '\\007\\000\\000\\000mine' >/sys/firmware/efi/efivars/${name}`)
  expect((await one.exec(`tail -c 4 /sys/firmware/efi/efivars/${name}`)).stdout).toBe('mine')
  expect(variables(one).includes(Buffer.from('Withvm', 'utf16le'))).toBe(true)
  expect(variables(two).includes(Buffer.from('Withvm', 'utf16le'))).toBe(false)
})

/** Runs TPM commands in the guest, as hexadecimal digits, and returns the answers. */
async function runTpm(vm: VM, command: string): Promise<string> {
  const bytes = command.replace(/../g, '\\x$&')
  const { stdout } = await vm.exec(`
    modprobe -a tpm_crb tpm_tis 2>/dev/null
    exec 3<>/dev/tpm0; printf '${bytes}' >&3; dd bs=4096 count=1 <&3 2>/dev/null | xxd -p | tr -d '\\n'`)
  return stdout
}

/** TPM2_GetRandom of 16 bytes, TPM2_PCR_Extend and TPM2_PCR_Read of the register 16 (SHA-256). */
const TPM = {
  random: '8001' + '0000000c' + '0000017b' + '0010',
  extend:
    '8002' +
    '00000041' +
    '00000182' +
    '00000010' +
    '00000009' +
    '40000009' +
    '0000000000' +
    '00000001' +
    '000b' +
    'aa'.repeat(32),
  read: '8001' + '00000014' + '0000017e' + '00000001' + '000b' + '03' + '000001',
} as const

test('each clone has a TPM of its own', async () => {
  const [one, two] = clones
  const before = await runTpm(one, TPM.read)
  expect(before).toMatch(/^8001.{8}00000000/)
  expect(await runTpm(two, TPM.read)).toBe(before)
  expect(await runTpm(one, TPM.extend)).toMatch(/^8002.{8}00000000/)
  expect(await runTpm(one, TPM.read)).not.toBe(before)
  expect(await runTpm(two, TPM.read)).toBe(before)
})

test('the TPMs of clones return different random numbers', async () => {
  const [one, two] = clones
  const [ofOne, ofTwo] = [await runTpm(one, TPM.random), await runTpm(two, TPM.random)]
  expect(ofOne).toMatch(/^8001.{8}00000000/)
  expect(ofOne).not.toBe(ofTwo)
})

test('a clone starts again with its UEFI variables and its TPM after a power cut', async () => {
  const [vm] = clones
  await vm.powerCut()
  await vm.start()
  expect(variables(vm).includes(Buffer.from('Withvm', 'utf16le'))).toBe(true)
  expect(await runTpm(vm, TPM.random)).toMatch(/^8001.{8}00000000/)
})

test('a template with a damaged TPM state, UEFI variables and disk is made again', async () => {
  const [{ startedFrom }] = clones
  await clones[Symbol.asyncDispose]()
  const { template = '' } = startedFrom as { readonly template?: string }
  const folder = join(resolveCacheDir(), 'templates', template)
  for (const file of ['tpm/tpm2-00.permall', 'uefi-vars', 'disk-1.qcow2']) {
    const path = join(folder, file)
    writeFileSync(path, readFileSync(path).fill(0x55, 100, 200))
  }
  await using vm = await launchVM({ ...options, standby: false, log: () => {} })
  expect(vm.startedFrom).toEqual({ kind: 'template', template, buildMs: expect.any(Number) })
  expect(await runTpm(vm, TPM.random)).toMatch(/^8001.{8}00000000/)
})
