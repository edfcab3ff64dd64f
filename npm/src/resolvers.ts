/** `Promise.withResolvers`, which not all supported browsers have. */
export function withResolvers<T>(): {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
} {
  let resolve = (_: T): void => {};
  let reject = (_: unknown): void => {};
  const promise = new Promise<T>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  return { promise, resolve, reject };
}
