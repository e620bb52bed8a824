import { existsSync, readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { expect, test as plain } from 'vitest'
import { launchVM } from 'withvm'
import { findUefi } from '../../../src/host/firmware.js'
import { failureOf } from '../../support/failure-of.js'
import { guestTest } from '../../support/guest-test.js'

const test = guestTest({ start: 'cold', machine: 'q35', firmware: 'uefi', tpm: { model: 'crb' } })

test('UEFI firmware starts the kernel of tiny and announces the TPM to it', async ({ vm }) => {
  const { stdout } = await vm.ssh`
    ls -d /sys/firmware/efi /sys/firmware/acpi/tables/TPM2; echo`
  expect(stdout).toContain('/sys/firmware/acpi/tables/TPM2\n/sys/firmware/efi\n')
  const [tpm] = (await vm.qmp.execute('query-tpm')) as readonly unknown[]
  expect(tpm).toMatchObject({ model: 'tpm-crb', options: { type: 'emulator' } })
})

test('a guest writes UEFI variables to its own copy of the store', async ({ vm }) => {
  const blocks = (await vm.qmp.execute('query-block')) as ReadonlyArray<{
    inserted?: { file: string; ro: boolean }
  }>
  const files = blocks.flatMap(({ inserted }) => (inserted === undefined ? [] : [inserted]))
  const { code, vars } = await findUefi({ arch: 'x86_64', machine: 'q35', secureBoot: false })
  const own = files.find(({ file }) => file.endsWith('/uefi-vars'))
  expect(own?.ro).toBe(false)
  expect(files.find(({ file }) => file === code.path)?.ro).toBe(true)
  expect(readFileSync(own?.file ?? '').equals(readFileSync(vars.path))).toBe(false)
})

/** Lists the swtpm processes that a process has started. */
async function listTpms(parent = process.pid): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => {
    if (!existsSync(`/proc/${pid}/cmdline`)) return false
    try {
      const isOurs =
        readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1] === String(parent)
      return isOurs && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--tpmstate')
    } catch {
      return false // it ended in between
    }
  })
}

test('the TPM emulator ends with its guest and is started again after a power cut', async ({ vm }) => {
  const [first, ...others] = await listTpms()
  expect(others).toEqual([])
  await vm.powerCut()
  await expect.poll(() => listTpms()).toEqual([])
  await vm.start()
  const [second] = await listTpms()
  expect(second).not.toBe(first)
  await vm.dispose()
  expect(await listTpms()).toEqual([])
})

plain('a TPM together with a directly booted initrd under BIOS is rejected', async () => {
  const error = await failureOf(launchVM({ tpm: true, log: () => {} }))
  expect(error.message).toMatchInlineSnapshot(`
    "QEMU does not support a TPM with a directly booted initrd under BIOS: the initrd would overwrite the ACPI tables.
      Expected: \`firmware: 'uefi'\` with \`tpm\`, or an image with its own boot loader
      Got:      \`tpm\` with BIOS and an \`initrd\` (such as that of \`tiny\`)
    Fix: Set \`firmware: 'uefi'\`."
  `)
})
