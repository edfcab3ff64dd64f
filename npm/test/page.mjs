// A tab in a world of tabs (`world.mjs`), without a store.
const NOTHING = { ops: [], channels: [], tables: [] };

/**
 * The class of such tabs, of these parts of the package. What extends it says which `views` and
 * `leases` the tab wants, and applies what the core says.
 */
export const pageOf = ({ Driver, Tabs, createCore }) =>
  class {
    dead = false;
    frozen = false;
    asleep = false;
    window = new EventTarget();
    document = Object.assign(new EventTarget(), { visibilityState: "visible" });

    constructor(world) {
      this.world = world;
      const storage = { apply: async () => null, close: () => {} };
      const drive = (event) => {
        const core = createCore({}, NOTHING, Math.floor(world.now), Date.now());
        return new Driver({ core, base: "http://x", storage, token: async () => "token", event });
      };
      world.as(this, () => {
        this.tabs = new Tabs("scope", {
          wants: () => ({ connect: true, views: this.views, leases: this.leases }),
          event: (event) => this.apply(event),
          refused: () => {},
          wiped: () => {},
          take: async (known, event) => {
            const { store } = world;
            store.term = Math.max(known, store.term) + 1;
            const { term } = store;
            await new Promise((resolve) => world.later(this, resolve));
            return { driver: drive(event), term, storeId: store.storeId, failure: null };
          },
          idle: () => drive(() => {}),
        });
        void this.tabs.join();
      });
    }
  };
