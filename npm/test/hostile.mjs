// Wrong values that applications may pass by mistake. They are tried for every argument and option.

const circular = { name: "circle" };
circular.self = circular;
const thrower = () => {
  throw new Error("the application's own");
};
const nested = (levels, make) => {
  let value = make(undefined);
  for (let level = 1; level < levels; level += 1) value = make(value);
  return value;
};

/** The values by name, because many can't be converted to text. */
export const HOSTILE = new Map(
  Object.entries({
    undefined: undefined,
    null: null,
    true: true,
    zero: 0,
    "minus zero": -0,
    "a fraction": 1.5,
    "a negative number": -7,
    "a great number": 2 ** 60,
    NaN: Number.NaN,
    Infinity: Number.POSITIVE_INFINITY,
    "a bigint": 10n,
    "a symbol": Symbol("s"),
    "a function": () => "x",
    "a class": class {},
    "a date": new Date(0),
    "an invalid date": new Date(Number.NaN),
    "a regular expression": /x/,
    "a map": new Map([[1, 2]]),
    "a promise": Promise.resolve("x"),
    "an error": new Error("x"),
    bytes: new Uint8Array(3),
    "boxed text": Object("x"),
    "no prototype": Object.create(null),
    "an empty object": {},
    "a member that is a bigint": { x: 10n },
    "a member that is a symbol": { x: Symbol("s") },
    "a member that is undefined": { x: undefined },
    "a member that is NaN": { x: Number.NaN },
    "a name of half an emoji": { "\ud83d": 1 },
    "an own __proto__": JSON.parse('{"__proto__":{"x":1}}'),
    circular: circular,
    "a circular array": (() => {
      const list = [];
      list.push(list);
      return list;
    })(),
    "a throwing toJSON": { toJSON: thrower },
    "a toJSON that gives itself": {
      toJSON() {
        return this;
      },
    },
    "a toJSON that gives a bigint": { toJSON: () => 1n },
    "a throwing getter": Object.defineProperty({}, "x", { enumerable: true, get: thrower }),
    "a proxy that throws": new Proxy(
      {},
      { get: thrower, ownKeys: thrower, has: thrower, getOwnPropertyDescriptor: thrower },
    ),
    "a revoked proxy": (() => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    })(),
    "an empty array": [],
    "an array": ["x", 1],
    "30 arrays deep": nested(30, (inner) => [inner]),
    "30 objects deep": nested(30, (inner) => ({ inner })),
    "5,000 arrays deep": nested(5000, (inner) => [inner]),
    "an empty text": "",
    "white space": " \n\t",
    "a word": "x",
    "a star": "*",
    "half an emoji": "\ud83d",
    "the other half": "a\ude00b",
    "a zero character": "\u0000",
    "a quote": '"\\',
    "a long text": "x".repeat(100_000),
    "a long text of emojis": "😀".repeat(40_000),
    "a word of prototypes": "__proto__",
    "another one": "constructor",
  }),
);

/**
 * Makes a call and returns its result. Only errors of the package may be thrown or reject a
 * promise.
 */
export async function tried(call) {
  try {
    const result = call();
    if (result instanceof Promise) await result;
    return undefined;
  } catch (error) {
    return error;
  }
}
