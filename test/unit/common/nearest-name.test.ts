import { expect, test } from 'vitest'
import { editDistance, nearestName, nearestNames } from '../../../src/common/nearest-name.js'

test.each([
  ['', '', 0],
  ['', 'abc', 3],
  ['kvm', 'kvm', 0],
  ['memroy', 'memory', 1],
  ['memry', 'memory', 1],
  ['kitten', 'sitting', 3],
  ['ca', 'abc', 3],
])('the edit distance of %j and %j is %i', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance)
  expect(editDistance(b, a)).toBe(distance)
})

test('the nearest names are sorted by distance', () => {
  expect(nearestNames('pc-i440fx-7.3', ['q35', 'pc-i440fx-7.2', 'pc-i440fx-6.2', 'microvm'])).toEqual([
    'pc-i440fx-7.2',
    'pc-i440fx-6.2',
  ])
})

test('a name that differs only in case is near', () => {
  expect(nearestName('hostFwd', ['hostfwd', 'hostname'])).toBe('hostfwd')
})

test('a name that starts with the input is near', () => {
  expect(nearestName('virtio-net', ['virtio-net-pci-non-transitional', 'e1000'])).toBe(
    'virtio-net-pci-non-transitional',
  )
})

test('no name is suggested if none is near', () => {
  expect(nearestNames('xyz', ['memory', 'cpus'])).toEqual([])
  expect(nearestName('q', ['memory'])).toBeUndefined()
})
