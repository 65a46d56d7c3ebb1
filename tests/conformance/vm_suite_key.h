/*
 * The RSA key of the suite's JIT configurations, in GitHub's form: made for it, and used nowhere else.
 */
#ifndef VM_SUITE_KEY_H
#define VM_SUITE_KEY_H

#define SUITE_RSA_PARAMETERS                                                                       \
    "{\"d\":\"AfbE5OBy1SwqheY91nuZy6iozvKiMIvHAQwDG2BGBLnia0uKGtfVfYU3IfWsvtqRsRCG1OvJtcB"         \
    "7owMksiMKCwnV8OtIWjY2aznXd05jJhJpz/K+8ctmET4d/DBN426zJE46ynHQP/IdXQdhz450ZNR6lv/XBvh"         \
    "7Rgm/6c2U+aYROpqsMxyXiUJx3dSLOa32b0CH+6Dm5PeJVny63lPs/UKl2cRkezTZu1bwir+RgZ0mkLrTJSd"         \
    "w8ADjq9dK8OeLqsRuZzX3xsZSLdgpi8d8LCAiM5RLTjBWEsNgyXtsQmAcDkPAeOxAemUTQks9BQkQ7yluqLz"         \
    "XBCFGXnjEoI2XgQ==\",\"dp\":\"hIqO42uj733Ij7qDhQp31P5Oj0I5tIe3/lVzDdtIae/upKTCPoDj7mP"         \
    "RXfMXFe+3lP2VI+h/4bnQ66wPovBNGXSSDHcMiRPKR/yYmF7oKT1/RVwByAhCGg/OtpHUiXU0SKZudK3/WZx"         \
    "ADLNB7B8AdVLOVZ/2bU4tIVYLxBbUmYE=\",\"dq\":\"qYsajZn8ylAwVXUejkVDvztalnK9Trr6qJo+mMh"         \
    "7M0aJN6arCzW9yJky7P5bV5X+XgsSZ+fvwYLzHRKalew+2gDQ+g7HOW1Qatvc/gdHFkJV43rcH6qPV14ATl1"         \
    "ClVQdG0ZPvY314uiJxqMdKJmdCpFwLcbGuVfc4virDyGrDFk=\",\"exponent\":\"AQAB\",\"inverseQ"         \
    "\":\"f+dGYy9MSx5ugrKoEGh6lsUdP1CVX6VYPJtGmnX8VmB5ZUBvSUqhEIN7mf9yS30qB99fdozN2u4oWmX"         \
    "Vxxuc6JV+F+U8sLLWnyDbt0cwPUPUYelE5cZjIQU/1Va611waDQKU0qj6wIvmom2lrJ/5rzJUzpATUMrz/w4"         \
    "R3RhmTSM=\",\"modulus\":\"kohtxbzPQRoIQKH31P5eboSr/DG7V/iVK3eAdZBq9gasOYx8H1AQIgN4F0"         \
    "J5LXK78xgfm1b/rwisrl36w0PsWZWwSmJepVenhyAUJygrjzpdcP08hgUiB/7mjRJrikfvrjYqF5CT/Cvz8l"         \
    "+e7h3uhfSu3K2QigC6GEUPD7NI5INRQSmnr8Gf0X2bMlkJtnoUnr+axHGFu9DNErC92r5Mxdm3I0UWz8jhG6"         \
    "L2ikSuNBv/Pf30mL25k9WMcZSLeIGBjiDVb07NP5E4xyosK2WI8woejMSET6a2rFtIDkYRKF3RvRjBL8BAAA"         \
    "lv/9eSqTXw3AJuoTj55fSy2XXHJbSEKQ==\",\"p\":\"xJ4G+gFx5ksiGTOBALZxSA6HwOmwx85sozsbdOW"         \
    "GqAi37JifoCb0MTTT+h2GE2euHVy7XCNSnXMIUuo5xDX7mD1llGaGJVqbSFnL72yuU2rNqs2xKKY/gsE7Q34"         \
    "yEqg6QhX6xKMJipxKStnJxTyHLbKj1tkxnW/s5ezfYgflcIE=\",\"q\":\"vsn/3wjnKU09RRNhb7TlPuTS"         \
    "GpUFcaSMsfDrVyYq6NjHjk9EFYrTB3+7YmBmE4OO33lRfu1APY0pRWkzRyXRxrAK4PYF5mAkQZ60kvUiZyfA"         \
    "M0ZFoT/uSPukd0m9370gRBhmhjUkLQW9R1vmSvViAuK7gejjxF7r27dSbCnNv6k=\"}"

#endif
