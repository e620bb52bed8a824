import { expect, test } from 'vitest'
import { launchVM, VMError } from 'withvm'

test('a guest without a boot loader fails with the evidence of its start', async () => {
  // #region failed
  const error = await launchVM({ image: 'tiny', boot: 'c' }).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(VMError)
  expect(error).toMatchObject({ code: 'GUEST_FAILED', kind: 'guest' })
  // #endregion
  await expect(`${maskHost((error as Error).message)}\n`).toMatchFileSnapshot('output/failed-start.txt')
})

/** Replaces values that differ between hosts with `…`. */
function maskHost(message: string): string {
  return message
    .replace(/[\d.]+ (?:ms|s|min)\b/g, '…')
    .replace(/tiny-[0-9a-f]{6}/, 'tiny-9dde26')
    .replace(/accelerator: .*/, 'accelerator: …')
    .replace(/host: .*/, 'host: load … on … processors, … of … memory free')
    .replace(/SeaBIOS \(version .*/, 'SeaBIOS (version …)')
    .replace(/\S+(?= -name)/, 'qemu-system-x86_64')
    .replace(/accel=\w+/, 'accel=…')
    .replace(/-cpu \w+/, '-cpu …')
    .replace(/mac=[\w:]+/, 'mac=…')
    .replace(/file=[^,]+/, 'file=…/disk.qcow2')
    .replace(/127\.0\.0\.1:\d+/, '127.0.0.1:…')
}
