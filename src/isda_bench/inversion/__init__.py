r"""Reversing a convolutional network: images that have wanted deep features (supplement C).

A classifier f and a generator G are fixed; the search is for the generator's input z:

    Step I  (Eq. 7):  z_i  = argmin_z  ||f(G(zhat)) - a_i||^2 + eta ||G(zhat) - x_i||^2,    a_i = f(x_i)
    Step II (Eq. 8):  z_i' = argmin_z' ||f(G(zhat')) - atilde_i||^2,    atilde_i ~ N(a_i, lambda Sigma_{y_i})

    zhat = (z - mean(z)) / std(z) of each vector, so that Eq. 8 is Eq. 7 with eta 0 and other wanted features

by gradient descent with momentum, Step II from where Step I ended. Sums run over the features and the pixels
of an image; the objective of the batch is the sum over its images. G(zhat) and x_i are the images as f takes
them, normalised, in the second term as in the first.

The gradient is orthogonal to z, which therefore grows with each step until steps are small against it; weight
decay does not change zhat, it lets z shrink again and so keeps the angle of a step up. That is why a learning
rate of 10 does no harm.
"""
