import { expect, test } from 'vitest'
import { resolveSpec } from '../../../../src/spec/resolve/resolve-spec.js'
import { describeChild } from '../../../../src/vm/fork/child-plan.js'

test('a child gets free ports, its own sockets and another LAN', () => {
  const spec = resolveSpec(
    {
      image: false,
      hostfwd: [{ guest: 80, host: 8080 }],
      network: [{}, { hub: 'lan' }],
      vnc: { display: 3, websocket: 5703 },
      debug: { gdb: 1234, paused: true },
    },
    undefined,
  )
  const child = describeChild(spec, 'child', 'a1b2c3')
  expect(child.name).toBe('child')
  expect(child.forwards.map(({ guest, host }) => [guest, host])).toEqual(
    spec.forwards.map(({ guest }) => [guest, undefined]),
  )
  expect(child.network.link).toBeUndefined()
  expect(child.furtherNetworks[0]?.link).toEqual({ hub: 'lan a1b2c3' })
  expect(child.display.vnc).toMatchObject({ display: undefined, websocket: true })
  expect(child.debug).toMatchObject({ gdb: true, paused: undefined })
})
