/**
 * Children of a fork. Disposing of the list disposes of all of them. The compiler knows its length
 * if `Count` is a literal of at most 32.
 */
export type Forks<
  Guest,
  Count extends number = number,
  List extends readonly Guest[] = [],
> = number extends Count
  ? Guest[] & AsyncDisposable
  : List['length'] extends Count
    ? List & AsyncDisposable
    : List['length'] extends 32
      ? Guest[] & AsyncDisposable
      : Forks<Guest, Count, [...List, Guest]>

/** Makes a list of guests disposable. */
export function disposable<T extends readonly AsyncDisposable[]>(guests: T): T & AsyncDisposable {
  const dispose = async () => {
    const ends = await Promise.allSettled(guests.map((guest) => guest[Symbol.asyncDispose]()))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }
  return Object.defineProperty(guests, Symbol.asyncDispose, { value: dispose }) as T & AsyncDisposable
}
