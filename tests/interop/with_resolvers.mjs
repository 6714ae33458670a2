// js-libp2p counts on this; Node has it from 22 on, and 20 is enough for the rest.
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};
